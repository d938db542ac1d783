import type { ContentKind, Outcome } from '../cache/observer.ts'
import { outcomes } from '../cache/observer.ts'
import type { Counters } from './counters.ts'

/** Sums by name, as they are stored. */
export type Tally = Readonly<Record<string, number>>

const kinds = ['manifest', 'blob'] as const satisfies readonly ContentKind[]
const plain = ['servedBytes', 'evictedBlobs', 'evictedBytes', 'damagedBlobs', 'probes'] as const

/** The counters that are stored, by name: `answers docker.io blob hit`, `receivedBytes docker.io`, `probes`. */
export function tallyOf(counters: Counters): Tally {
  const tally: Record<string, number> = {}
  for (const [upstream, { answers, receivedBytes }] of counters.upstreams) {
    tally[`receivedBytes ${upstream}`] = receivedBytes
    for (const kind of kinds) {
      for (const outcome of outcomes) tally[`answers ${upstream} ${kind} ${outcome}`] = answers[kind][outcome]
    }
  }
  for (const name of plain) tally[name] = counters[name]
  return tally
}

/** Adds stored sums to the counters. Ignores names that this version does not know. */
export function addTally(counters: Counters, tally: Tally): void {
  for (const [name, value] of Object.entries(tally)) {
    const [what, upstream, kind, outcome] = name.split(' ')
    if (what === 'answers' && upstream && isKind(kind) && isOutcome(outcome)) {
      counters.upstream(upstream).answers[kind][outcome] += value
    } else if (what === 'receivedBytes' && upstream) counters.upstream(upstream).receivedBytes += value
    else if (isPlain(name)) counters[name] += value
  }
}

/** The changes from `before` to `now`, without those that are 0. */
export function difference(now: Tally, before: Tally): Tally {
  const changes = Object.entries(now).map(([name, value]) => [name, value - (before[name] ?? 0)] as const)
  return Object.fromEntries(changes.filter(([, change]) => change !== 0))
}

export function sumOf(tallies: Iterable<Tally>): Tally {
  const total: Record<string, number> = {}
  for (const tally of tallies) {
    for (const [name, value] of Object.entries(tally)) total[name] = (total[name] ?? 0) + value
  }
  return total
}

function isKind(text: string | undefined): text is ContentKind {
  return kinds.some((kind) => kind === text)
}

function isOutcome(text: string | undefined): text is Outcome {
  return outcomes.some((outcome) => outcome === text)
}

function isPlain(text: string): text is (typeof plain)[number] {
  return plain.some((name) => name === text)
}
