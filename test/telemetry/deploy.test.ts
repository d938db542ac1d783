import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { image } from '../support/image.ts'
import { Stage } from '../support/stage.ts'

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string }
}

interface Panel {
  readonly title: string
  readonly type: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { readonly expr: string }[]
}

interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] }
}

const folder = new URL('../../deploy/', import.meta.url)
const alerts = parse(await readFile(new URL('prometheus/alerts.yaml', folder), 'utf8')) as {
  readonly groups: readonly { readonly rules: readonly Rule[] }[]
}
const rules = alerts.groups.flatMap((group) => group.rules)
const dashboard = JSON.parse(await readFile(new URL('grafana/entrepot.json', folder), 'utf8')) as Dashboard
const queries = [
  ...rules.map(({ alert, expr }) => ({ where: alert, expr })),
  ...dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ where: title, expr }))),
  ...dashboard.templating.list
    .flatMap(({ definition }) => definition ?? [])
    .map((expr) => ({ where: 'variables', expr })),
]

/** Every series by name, with the labels it has and their values, of a mirror that has been used. */
async function series(): Promise<Map<string, Map<string, Set<string>>>> {
  await using stage = await Stage.start()
  stage.upstream.addImage('library/alpine', 'latest', image())
  await stage.get('/v2/library/alpine/manifests/latest')
  const text = await (await fetch(`${stage.mirror.adminUrl}/metrics`)).text()
  const found = new Map<string, Map<string, Set<string>>>()
  // What has no sample yet is declared all the same.
  for (const [, name = ''] of text.matchAll(/^# TYPE (\S+) \S+$/gm)) found.set(name, new Map())
  for (const [, name = '', list = ''] of text.matchAll(/^([a-z_]+)(?:\{(.*)\})? \S+$/gm)) {
    const labels = found.get(name) ?? new Map<string, Set<string>>()
    found.set(name, labels)
    for (const [, label = '', value = ''] of list.matchAll(/(\w+)="([^"]*)"/g)) {
      labels.set(label, (labels.get(label) ?? new Set()).add(value))
    }
  }
  return found
}

/** Prometheus itself adds these. */
const added = new Set(['instance', 'job'])

describe('the dashboard and the alert rules', () => {
  it('name only metrics, labels and values that exist', async () => {
    const known = await series()
    const used = new Set<string>()
    for (const { where, expr } of queries) {
      const names = [...expr.matchAll(/\b((?:entrepot|process|nodejs)_[a-z0-9_]+)(?:\{([^}]*)\})?/g)]
      assert.ok(names.length > 0, `${where} asks for nothing`)
      for (const [, name = '', selector = ''] of names) {
        const labels = known.get(name)
        assert.ok(labels, `${where}: there is no ${name}`)
        used.add(name)
        for (const [, label = '', operator = '', value = ''] of selector.matchAll(/(\w+)(!?[=~]+)"([^"]*)"/g)) {
          if (added.has(label)) continue
          assert.ok(labels.get(label)?.has(value), `${where}: ${name} has no ${label}${operator}"${value}"`)
        }
        for (const [, list = ''] of expr.matchAll(/\bby \(([^)]*)\)/g)) {
          for (const label of list.split(', ')) {
            assert.ok(added.has(label) || labels.has(label) || labels.size === 0, `${where}: ${name} has no ${label}`)
          }
        }
      }
    }
    const unused = [...known.keys()].filter(
      (name) =>
        /^entrepot_[a-z_]*(?<!_bucket|_sum|_count)$/.test(name) && !used.has(name) && !used.has(`${name}_bucket`),
    )
    assert.deepEqual(unused, [], 'metrics that nobody looks at')
  })

  it('warns of what makes mirrors fail', () => {
    const names = rules.map(({ alert }) => alert)
    assert.equal(new Set(names).size, names.length)
    for (const name of [
      'HitRatioFell',
      'UpstreamFailing',
      'RateLimitLow',
      'DiskPassThrough',
      'DamageFound',
      'RedisAway',
    ]) {
      assert.ok(names.includes(`Entrepot${name}`), name)
    }
    for (const { labels, annotations } of rules) {
      assert.match(labels.severity, /^(?:page|ticket)$/)
      assert.ok(annotations.summary.length > 20)
    }
  })

  it('balances every bracket', () => {
    for (const { where, expr } of queries) {
      for (const [open, close] of ['()', '{}', '[]']) {
        assert.equal(expr.split(open ?? '').length, expr.split(close ?? '').length, where)
      }
    }
  })

  it('lays panels side by side, none over another', () => {
    for (const [place, { title, gridPos: one }] of dashboard.panels.entries()) {
      assert.ok(one.x + one.w <= 24, title)
      for (const { title: below, gridPos: other } of dashboard.panels.slice(place + 1)) {
        const apart =
          one.x + one.w <= other.x ||
          other.x + other.w <= one.x ||
          one.y + one.h <= other.y ||
          other.y + other.h <= one.y
        assert.ok(apart, `${title} lies over ${below}`)
      }
    }
  })
})
