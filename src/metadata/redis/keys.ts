import type { Digest } from '../../oci/digest.ts'
import type { LinkKind } from '../metadata-store.ts'

/*
 * Everything kept in Redis:
 *
 *   entrepot:tag:<repository>:<tag>             hash    digest, mediaType, size, etag, checkedAt
 *   entrepot:link:{<repository>}:<kind>:<digest>  hash  size, mediaType, visibility
 *   entrepot:use:{<store>}:at                   sorted set   digest by the time of its last use
 *   entrepot:use:{<store>}:size                 hash    digest → bytes
 *   entrepot:use:{<store>}:bytes                string  the sum of those
 *   entrepot:probe                              hash    as a tag; written to learn whether Redis takes writes
 *
 * Times are epoch milliseconds, sizes bytes; a field that is missing is unknown. <kind> is `manifest` or `blob`.
 * <store> is the name of one content store: last uses are about one disk, and shared by nobody else.
 *
 * On Redis Cluster every operation stays in one slot: a tag is one key, the links of a repository share the hash tag
 * {<repository>}, the uses of a store {<store>}. Every key expires 90 days after it was last written.
 *
 * Commands used: EVAL, EVALSHA, HGETALL, DEL, and in scripts HGET, HSET, HDEL, DEL, EXPIRE, ZADD, ZSCORE, ZRANGE, ZREM,
 * ZCARD, INCRBY, DECRBY, GET; while connecting HELLO, AUTH, SELECT, CLIENT, and on Redis Cluster CLUSTER.
 */

/** Seconds that a key outlives its last write. */
export const keptFor = 90 * 24 * 60 * 60

export const probeKey = 'entrepot:probe'

export function tagKey(repository: string, tag: string): string {
  return `entrepot:tag:${repository}:${tag}`
}

export function linkKey(repository: string, kind: LinkKind, digest: Digest): string {
  return `entrepot:link:{${repository}}:${kind}:${digest}`
}

/** In the order in which the scripts take them. */
export function useKeys(store: string): string[] {
  return ['at', 'size', 'bytes'].map((part) => `entrepot:use:{${store}}:${part}`)
}
