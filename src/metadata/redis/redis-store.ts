import type { Digest } from '../../oci/digest.ts'
import type { Link, LinkKind, MetadataStore, TagRecord } from '../metadata-store.ts'
import { parseLink, parseTag } from '../records.ts'
import { keyLifetime, linkKey, probeKey, tagKey } from './keys.ts'
import { RedisConnection, type RedisConnectionOptions } from './redis-connection.ts'

type Hash = Readonly<Record<string, string>>

/** Of every kind of record. */
const fields = ['digest', 'mediaType', 'size', 'etag', 'checkedAt', 'visibility'] as const

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
    return this.#read(tagKey(repository, tag), parseTag)
  }

  async setTag(repository: string, tag: string, record: TagRecord): Promise<void> {
    const values = [keyLifetime, record.checkedAt, ...tagFields(record)]
    await this.#connection.run((client) => client.setTag(tagKey(repository, tag), ...values))
  }

  async deleteTag(repository: string, tag: string): Promise<void> {
    await this.#connection.run((client) => client.del(tagKey(repository, tag)))
  }

  async link(repository: string, kind: LinkKind, digest: Digest): Promise<Link | undefined> {
    return this.#read(linkKey(repository, kind, digest), (hash) => parseLink({ ...hash, kind, digest }))
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

  /** A key that holds no record is deleted, so that an older record than it claims to be may be written there. */
  async #read<Value>(key: string, parse: (hash: Hash) => Value | undefined): Promise<Value | undefined> {
    const hash = await this.#hash(key)
    const value = parse(hash)
    if (value || Object.keys(hash).length === 0) return value
    const seen = fields.flatMap((field) => (hash[field] === undefined ? [] : [field, hash[field]]))
    // Where that fails, the next read tries again.
    await this.#connection.run((client) => client.discard(key, ...seen)).catch(() => undefined)
    return undefined
  }

  /** Of a key of another type, as if nothing in it were right. */
  async #hash(key: string): Promise<Hash> {
    try {
      return await this.#connection.run((client) => client.hgetall(key))
    } catch (error) {
      if (error instanceof Error && error.message.includes('WRONGTYPE')) return { digest: '' }
      throw error
    }
  }
}

/** The fields of a tag except `checkedAt`, each followed by its value. */
function tagFields({ digest, mediaType, size, etag }: TagRecord): (string | number)[] {
  const fields = ['digest', digest, 'mediaType', mediaType, 'size', size]
  return etag === undefined ? fields : [...fields, 'etag', etag]
}
