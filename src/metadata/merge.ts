import { isDeepStrictEqual } from 'node:util'
import type { Link, TagRecord } from './metadata-store.ts'

/** The record that was checked later; the second one if both were checked at the same time. */
export function newerTag(one: TagRecord | undefined, other: TagRecord | undefined): TagRecord | undefined {
  if (!one || !other) return other ?? one
  return one.checkedAt > other.checkedAt ? one : other
}

/** A link after another proof of it: what was public stays public, and a known size stays known. */
export function mergeLink(known: Link | undefined, proof: Link): Link {
  if (!known) return proof
  const visibility = known.visibility === 'public' ? 'public' : proof.visibility
  return { ...proof, visibility, size: proof.size ?? known.size }
}

/** Whether no later proof can add anything. */
export function isComplete(link: Link): boolean {
  return link.visibility === 'public' && link.size !== undefined
}

export function isSame<Value extends TagRecord | Link>(one: Value, other: Value | undefined): boolean {
  return other !== undefined && isDeepStrictEqual(one, other)
}
