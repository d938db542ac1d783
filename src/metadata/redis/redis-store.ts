import type { Digest } from '../../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord } from '../metadata-store.ts'
import { keyLifetime, linkKey, probeKey, tagKey } from './keys.ts'
import { RedisConnection, type RedisConnectionOptions } from './redis-connection.ts'
import { parseLink, parseTag, tagFields } from './redis-record.ts'

/**
 * Metadata in Redis, shared by all mirrors that use the same one; `keys.ts` documents the keys. Throws
 * `MetadataUnavailable` within the command time-out if Redis does not answer, and at once until it answers again.
 */
export class RedisStore implements MetadataStore {
  readonly #connection: RedisConnection

  private constructor(connection: RedisConnection) {
    this.#connection = connection
  }

  /** Redis may be down: this waits no longer than connecting may take. Throws if the URL is not valid. */
  static async open(url: string, options: RedisConnectionOptions = {}): Promise<RedisStore> {
    const connection = await RedisConnection.open(
      url,
      (client) => client.setTag(probeKey, keyLifetime, 0, 'of', 'entrepot'),
      options,
    )
    return new RedisStore(connection)
  }

  async tag(repository: string, tag: string): Promise<TagRecord | undefined> {
    return parseTag(await this.#hash(tagKey(repository, tag)))
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    const values = [keyLifetime, record.checkedAt, ...tagFields(record)]
    await this.#connection.run((client) => client.setTag(tagKey(repository, tag), ...values))
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
    await this.#connection.run((client) => client.addLinks(keys.length, ...keys, keyLifetime, ...values))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]()
  }

  #hash(key: string): Promise<Record<string, string>> {
    return this.#connection.run((client) => client.hgetall(key))
  }
}
