import type { TagRecord } from '../metadata/metadata-store.ts'

/** How long the last check of a tag counts, in milliseconds. */
export interface TagPolicy {
  /** Within this time the tag is answered without asking the upstream. */
  readonly ttl: number
  /** For so long after `ttl`, the tag may be answered although the upstream does not confirm it. */
  readonly staleFor: number
}

export type Freshness = 'fresh' | 'stale' | 'expired'

/** Only tags age: content by digest never changes. */
export function freshness(record: Pick<TagRecord, 'checkedAt'>, now: number, policy: TagPolicy): Freshness {
  const age = now - record.checkedAt
  // A check may lie a little in the future, since the clocks of replicas differ. One far ahead comes from a wrong
  // clock.
  if (Math.abs(age) < policy.ttl) return 'fresh'
  return age < policy.ttl + policy.staleFor ? 'stale' : 'expired'
}
