import type { TagRecord } from '../metadata/metadata-store.ts'
import type { Digest } from '../oci/digest.ts'
import type { Currency } from '../upstream/upstream.ts'

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

/**
 * The time of a confirmation, in epoch milliseconds: a cache's answer is as old as it says, but by half a TTL at most. A
 * stale one confirms nothing of what is known.
 */
export function confirmedAt(
  { age, warning }: Currency,
  known: Pick<TagRecord, 'checkedAt'> | undefined,
  now: number,
  { ttl }: TagPolicy,
): number {
  if (warning !== undefined) return known?.checkedAt ?? now - Math.max(ttl, age)
  return now - Math.min(age, ttl / 2)
}

/** Whether a cache in front of the registry answers stale, with something older than what is known here. */
export function isBehind(
  { digest, currency }: { readonly digest: Digest; readonly currency: Currency },
  known: Pick<TagRecord, 'digest' | 'checkedAt'>,
  now: number,
): boolean {
  if (currency.warning === undefined || digest === known.digest) return false
  return now - currency.age <= known.checkedAt
}
