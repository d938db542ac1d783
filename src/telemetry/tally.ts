import { type ContentKind, outcomes } from '../cache/observer.ts'
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
  const upstreams = Object.keys(tally).flatMap((name) => /^(?:answers|receivedBytes) (\S+)/.exec(name)?.[1] ?? [])
  for (const upstream of new Set(upstreams)) {
    const counts = counters.upstream(upstream)
    counts.receivedBytes += tally[`receivedBytes ${upstream}`] ?? 0
    for (const kind of kinds) {
      for (const outcome of outcomes)
        counts.answers[kind][outcome] += tally[`answers ${upstream} ${kind} ${outcome}`] ?? 0
    }
  }
  for (const name of plain) counters[name] += tally[name] ?? 0
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
