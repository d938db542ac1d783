import type { TagRecord } from '../metadata/metadata-store.ts'

/** How long a tag's last check counts, in milliseconds. */
export interface TagPolicy {
  /** Within this the tag is answered without asking. */
  readonly ttl: number
  /** Beyond `ttl`, within this the tag may be answered although the upstream does not confirm it. */
  readonly staleFor: number
}

export type Freshness = 'fresh' | 'stale' | 'expired'

/** Only tags age: content by digest is always what it was. */
export function freshness(record: Pick<TagRecord, 'checkedAt'>, now: number, policy: TagPolicy): Freshness {
  const age = now - record.checkedAt
  // Replicas' clocks differ a little, and so a check may lie ahead; one that lies far ahead was made by a wrong clock.
  if (Math.abs(age) < policy.ttl) return 'fresh'
  return age < policy.ttl + policy.staleFor ? 'stale' : 'expired'
}
