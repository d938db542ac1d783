import { isDeepStrictEqual } from 'node:util'
import type { Link, TagRecord } from './metadata-store.ts'

/** Of two records of a tag, the one checked later; the second where they were checked at the same time. */
export function laterTag(one: TagRecord | undefined, other: TagRecord | undefined): TagRecord | undefined {
  if (!one || !other) return other ?? one
  return one.checkedAt > other.checkedAt ? one : other
}

/** A link after another proof of it: still public if it ever was, its size still known. */
export function provenAgain(known: Link | undefined, proof: Link): Link {
  if (!known) return proof
  const visibility = known.visibility === 'public' ? 'public' : proof.visibility
  return { ...proof, visibility, size: proof.size ?? known.size }
}

/** There is nothing more to learn about it. */
export function isComplete(link: Link): boolean {
  return link.visibility === 'public' && link.size !== undefined
}

export function isSame<Value extends TagRecord | Link>(one: Value, other: Value | undefined): boolean {
  return other !== undefined && isDeepStrictEqual(one, other)
}
