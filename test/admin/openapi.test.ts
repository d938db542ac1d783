import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { apiRouter } from '../../src/admin/api.ts'
import { adminErrorCodes } from '../../src/admin/error.ts'
import type { Event } from '../../src/admin/event.ts'
import { Events } from '../../src/admin/events.ts'
import { healthRouter } from '../../src/admin/health.ts'
import { Counters } from '../../src/telemetry/counters.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { first, Larder } from '../cache/support/larder.ts'
import { image, index, randomBlob } from '../support/image.ts'
import { memoryLog } from '../telemetry/support/memory-log.ts'
import { calmSources, emptyActions } from './support/admin.ts'
import { type Document, faults, type Operation, resolve } from './support/schema.ts'

const text = await readFile(new URL('../../deploy/openapi.yaml', import.meta.url), 'utf8')
const document = parse(text) as Document

const eventTypes: Record<Event['type'], true> = {
  'fill-started': true,
  'fill-ended': true,
  evicted: true,
  damaged: true,
  probed: true,
  'store-failed': true,
  'upstream-resting': true,
  'upstream-back': true,
}

/** `GET /api/pins/{pattern}` of every route there is. */
function routes(): string[] {
  const { log } = memoryLog()
  const counters = new Counters([])
  const api = apiRouter({
    counters,
    log,
    metrics: createMetrics({ counters, sources: calmSources, log, version: '0.0.0' }),
    sources: calmSources,
    actions: emptyActions,
    events: new Events({ upstreams: () => [], now: () => 0 }),
    uptime: () => 0,
  })
  return [...healthRouter(calmSources).stack, ...api.stack].flatMap(({ methods, path }) =>
    methods
      .filter((method) => method !== 'HEAD')
      .map((method) => `${method} ${String(path).replaceAll(/[:*](\w+)/g, '{$1}')}`),
  )
}

/** The schema of an answer in JSON. */
function answerSchema(method: string, path: string, status: number): object {
  const operation: Operation | undefined = document.paths[path]?.[method.toLowerCase()]
  const response = operation?.responses[status]
  assert.ok(response, `${method} ${path} documents ${status}`)
  const resolved = response.$ref === undefined ? response : resolve(document, response.$ref)
  return (resolved['content'] as Record<string, { schema: object }>)['application/json']?.schema ?? {}
}

describe('deploy/openapi.yaml', () => {
  it('has exactly the routes that exist', () => {
    const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    )
    assert.deepEqual(documented.sort(), routes().sort())
  })

  it('has every parameter of a path', () => {
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const { parameters = [] } of Object.values(operations)) {
        const named = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => `{${name}}`)
        assert.deepEqual(named, path.match(/\{\w+\}/g) ?? [], path)
      }
    }
  })

  it('has every error code and event', () => {
    const schema = resolve(document, '#/components/schemas/Errors/properties/errors/items/properties/code')
    assert.deepEqual(schema['enum'], Object.keys(adminErrorCodes))
    for (const type of Object.keys(eventTypes)) assert.match(text, new RegExp(`\`${type}\``))
  })

  it('has no broken reference', () => {
    for (const [, pointer = ''] of text.matchAll(/\$ref: "([^"]+)"/g)) {
      assert.equal(typeof resolve(document, pointer), 'object', pointer)
    }
  })

  it('describes every answer', async () => {
    await using larder = await Larder.open()
    const app = `${first}/team/app`
    const images = [
      image({ layers: [randomBlob(5_000, 2)] }),
      image({ platform: { os: 'linux', architecture: 'arm64' } }),
    ]
    await larder.stock(app, '1', index(images))
    await larder.stock(app, '2', image({ config: { n: 1 } }))
    const other = '"json"'
    for (const [method, template, path, status, body] of [
      ['GET', '/livez', '/../livez', 200],
      ['GET', '/readyz', '/../readyz', 200],
      ['GET', '/api/stats', '/stats', 200],
      ['GET', '/api/upstreams', '/upstreams', 200],
      ['GET', '/api/fills', '/fills', 200],
      ['GET', '/api/images', '/images', 200],
      ['GET', '/api/images', '/images?limit=1', 200],
      ['GET', '/api/images', '/images?limit=x', 400],
      ['POST', '/api/pins', '/pins', 201, { pattern: `${app}:1` }],
      ['POST', '/api/pins', '/pins', 200, { pattern: `${app}:1` }],
      ['POST', '/api/pins', '/pins', 404, { pattern: `${app}:9` }],
      ['POST', '/api/pins', '/pins', 400, { pattern: '' }],
      ['POST', '/api/pins', '/pins', 413, other.repeat(20_000)],
      ['GET', '/api/pins', '/pins', 200],
      ['DELETE', '/api/pins/{pattern}', `/pins/${app}:1`, 200],
      ['DELETE', '/api/pins/{pattern}', `/pins/${app}:1`, 404],
      ['DELETE', '/api/pins/{pattern}', '/pins/x', 400],
      ['POST', '/api/evict', '/evict', 200],
      ['POST', '/api/evict', '/evict', 400, other],
      ['POST', '/api/scrub', '/scrub', 202],
      ['GET', '/api/scrub', '/scrub', 200],
      ['DELETE', '/api/blobs/{digest}', `/blobs/${images[0]?.config.digest}`, 200],
      ['DELETE', '/api/blobs/{digest}', `/blobs/${images[0]?.config.digest}`, 404],
      ['DELETE', '/api/blobs/{digest}', '/blobs/x', 400],
      ['DELETE', '/api/images/{image}', `/images/${app}:1`, 200],
      ['DELETE', '/api/images/{image}', `/images/${app}:1`, 404],
      ['DELETE', '/api/images/{image}', '/images/x', 400],
      ['DELETE', '/api/repositories/{name}', `/repositories/${first}`, 200],
      ['DELETE', '/api/repositories/{name}', `/repositories/${first}`, 404],
      ['DELETE', '/api/repositories/{name}', '/repositories/x', 400],
    ] as const) {
      const answer = await larder.call<unknown>(path, method, body)
      const what = `${method} ${path} → ${answer.status}`
      assert.equal(answer.status, status, what)
      assert.deepEqual(faults(answer.json, answerSchema(method, template, status), document), [], what)
    }
  })
})
