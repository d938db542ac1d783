import type { Digest } from '../../oci/digest.ts'
import type { LinkKind } from '../metadata-store.ts'

/*
 * Everything kept in Redis:
 *
 *   entrepot:tag:<repository>:<tag>               hash  digest, mediaType, size, etag, checkedAt
 *   entrepot:link:{<repository>}:<kind>:<digest>  hash  size, mediaType, visibility
 *   entrepot:probe                                hash  like a tag; written to check that Redis accepts writes
 *
 * Times are epoch milliseconds, sizes are bytes; a missing field is unknown. <kind> is `manifest` or `blob`.
 *
 * On Redis Cluster every operation stays in one slot: a tag is one key, and the links of a repository share the hash tag
 * {<repository>}. Every key expires 90 days after it was last written.
 *
 * Commands used: EVAL, EVALSHA, HGETALL, DEL; in scripts HGET, HSET, DEL, EXPIRE, TYPE; while connecting HELLO, AUTH, SELECT,
 * CLIENT, and on Redis Cluster CLUSTER.
 */

/** Seconds from a key's last write until it expires. */
export const keyLifetime = 90 * 24 * 60 * 60

export const probeKey = 'entrepot:probe'

export function tagKey(repository: string, tag: string): string {
  return `entrepot:tag:${repository}:${tag}`
}

export function linkKey(repository: string, kind: LinkKind, digest: Digest): string {
  return `entrepot:link:{${repository}}:${kind}:${digest}`
}
