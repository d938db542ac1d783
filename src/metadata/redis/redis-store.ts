import type { Digest } from '../../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord, Usage, Use } from '../metadata-store.ts'
import { keptFor, linkKey, probeKey, tagKey, useKeys } from './keys.ts'
import { runScript } from './redis-client.ts'
import { RedisConnection, type RedisConnectionOptions } from './redis-connection.ts'
import { parseLink, parseTag, parseUses, tagFields } from './redis-record.ts'
import { type RedisScript, scripts } from './redis-scripts.ts'

export interface RedisStoreOptions extends RedisConnectionOptions {
  /** Names the content store whose last uses these are: they are about its disk, and apart from those of others. */
  readonly store: string
}

/** Uses that one script records: Redis does nothing else meanwhile. */
const part = 1000

/**
 * Metadata in Redis, shared by all who use the same one; `keys.ts` tells how. Throws `MetadataUnavailable` within the
 * command time-out when Redis does not answer, and at once while that lasts.
 */
export class RedisStore implements MetadataStore {
  readonly #connection: RedisConnection
  readonly #useKeys: readonly string[]

  private constructor(connection: RedisConnection, store: string) {
    this.#connection = connection
    this.#useKeys = useKeys(store)
  }

  /** Redis need not be there; it is waited for as long as connecting may take. Throws where the URL is none. */
  static async open(url: string, { store, ...options }: RedisStoreOptions): Promise<RedisStore> {
    const connection = await RedisConnection.open(
      url,
      (client) => runScript(client, scripts.setTag, [probeKey], [keptFor, 0, 'of', 'entrepot']),
      options,
    )
    return new RedisStore(connection, store)
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    return parseTag(await this.#hash(tagKey(repository, tag)))
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    await this.#run(scripts.setTag, [tagKey(repository, tag)], [keptFor, record.checkedAt, ...tagFields(record)])
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    await this.#connection.run((client) => client.del(tagKey(repository, tag)))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    return parseLink(kind, digest, await this.#hash(linkKey(repository, kind, digest)))
  }

  async addLinks(repository: string, links: readonly Link[]): Promise<void> {
    if (links.length === 0) return
    const keys = links.map(({ kind, digest }) => linkKey(repository, kind, digest))
    const values = links.flatMap(({ size, mediaType, visibility }) => [size ?? '', mediaType, visibility])
    await this.#run(scripts.addLinks, keys, [keptFor, ...values])
  }

  async recordUses(uses: readonly Use[]): Promise<void> {
    for (let start = 0; start < uses.length; start += part) {
      const values = uses.slice(start, start + part).flatMap(({ digest, size, at }) => [digest, size, at])
      await this.#run(scripts.recordUses, this.#useKeys, [keptFor, ...values])
    }
  }

  async coldest(limit: number): Promise<readonly Use[]> {
    if (limit < 1) return []
    const values = await this.#run(scripts.coldest, this.#useKeys.slice(0, 2), [limit])
    return Array.isArray(values) ? parseUses(values) : []
  }

  async forgetUse(digest: Digest, at: number): Promise<boolean> {
    return (await this.#run(scripts.forgetUse, this.#useKeys, [digest, at])) === 1
  }

  async usage(): Promise<Usage> {
    const values = await this.#run(scripts.usage, this.#useKeys, [])
    const [blobs = 0, bytes = 0] = Array.isArray(values) ? values : []
    return { blobs: Number(blobs), bytes: Number(bytes) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]()
  }

  #hash(key: string): Promise<Record<string, string>> {
    return this.#connection.run((client) => client.hgetall(key))
  }

  #run(script: RedisScript, keys: readonly string[], values: readonly (string | number)[]): Promise<unknown> {
    return this.#connection.run((client) => runScript(client, script, keys, values))
  }
}
