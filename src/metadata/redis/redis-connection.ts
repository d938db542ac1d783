import { withTimeLimit } from '../../oci/time-limit.ts'
import { MetadataUnavailable } from '../metadata-unavailable.ts'
import { createRedisClient, type RedisClient } from './redis-client.ts'
import { parseRedisUrl, type RedisAddress } from './redis-url.ts'

export interface RedisConnectionOptions {
  /** Milliseconds, like all times here. */
  readonly commandTimeout?: number
  readonly connectTimeout?: number
  /** Time between two attempts to reach a lost Redis. */
  readonly probeInterval?: number
  /** Redis cannot be used. Called once for each reason until Redis works again. */
  readonly onUnavailable?: (trouble: MetadataUnavailable) => void
  readonly onAvailable?: () => void
}

/**
 * A Redis that may be unavailable. After a command timed out or the connection broke, every call fails at once, until a
 * probe in the background succeeds.
 */
export class RedisConnection implements AsyncDisposable {
  readonly #address: RedisAddress
  readonly #options: Required<RedisConnectionOptions>
  readonly #probe: (client: RedisClient) => Promise<unknown>
  #client: RedisClient | undefined
  #connecting: RedisClient | undefined
  #trouble = new MetadataUnavailable('not connected')
  readonly #reported = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  private constructor(url: string, probe: (client: RedisClient) => Promise<unknown>, options: RedisConnectionOptions) {
    this.#address = parseRedisUrl(url)
    this.#probe = probe
    this.#options = {
      commandTimeout: 250,
      connectTimeout: 1000,
      probeInterval: 1000,
      onUnavailable: () => undefined,
      onAvailable: () => undefined,
      ...options,
    }
  }

  /** Resolves after the first attempt to connect, even if it failed. Throws only if the URL is not valid. */
  static async open(
    url: string,
    probe: (client: RedisClient) => Promise<unknown>,
    options: RedisConnectionOptions,
  ): Promise<RedisConnection> {
    const connection = new RedisConnection(url, probe, options)
    await connection.#connect()
    return connection
  }

  /** Throws `MetadataUnavailable` if Redis does not answer, and an ordinary error if it refuses the command. */
  async run<T>(work: (client: RedisClient) => Promise<T>): Promise<T> {
    const client = this.#client
    if (!client) throw this.#trouble
    try {
      return await withTimeLimit({ timeout: this.#options.commandTimeout }, () => work(client))
    } catch (error) {
      // ioredis puts the command into its errors, and a command may hold a password: pass on the message alone.
      if (isRefusal(error)) throw new Error(`Redis refused a command: ${reasonOf(error)}`)
      if (this.#client === client) this.#lose(error)
      throw this.#trouble
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#connecting?.disconnect()
    this.#client?.disconnect()
    this.#client = undefined
    this.#trouble = new MetadataUnavailable('the connection to Redis has been closed')
  }

  async #connect(): Promise<void> {
    const { commandTimeout, connectTimeout, onAvailable } = this.#options
    const client = createRedisClient(this.#address, { command: commandTimeout, connect: connectTimeout })
    this.#connecting = client
    let emitted: unknown
    client.on('error', (error: unknown) => {
      emitted = error
    })
    client.on('end', () => {
      if (this.#client === client) this.#lose(emitted ?? new Error('the connection was closed'))
    })
    try {
      await withTimeLimit({ timeout: connectTimeout }, () => client.connect())
      // If the database does not exist, ioredis only emits an error, and would go on with another database.
      if (emitted) throw emitted
      await withTimeLimit({ timeout: commandTimeout }, () => this.#probe(client))
    } catch (error) {
      client.disconnect()
      this.#lose(emitted ?? error)
      return
    } finally {
      this.#connecting = undefined
    }
    if (this.#closed) {
      client.disconnect()
      return
    }
    this.#client = client
    if (this.#reported.size > 0) onAvailable()
    this.#reported.clear()
  }

  #lose(error: unknown): void {
    if (this.#closed) return
    this.#client?.disconnect()
    this.#client = undefined
    const [node] = this.#address.nodes
    this.#trouble = new MetadataUnavailable(`Redis at ${node?.host}:${node?.port} is unavailable: ${reasonOf(error)}`)
    this.#timer = setTimeout(() => void this.#connect(), this.#options.probeInterval).unref()
    if (this.#reported.has(this.#trouble.message)) return
    this.#reported.add(this.#trouble.message)
    this.#options.onUnavailable(this.#trouble)
  }
}

/** Whether Redis works and refused this command, or found a key of another type. */
function isRefusal(error: unknown): boolean {
  return error instanceof Error && /^(ERR|WRONGTYPE|NOSCRIPT|CROSSSLOT) /.test(error.message)
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return reasonOf(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  if (error.message.startsWith('MOVED ')) return 'it is a Redis Cluster, and its URL needs ?cluster=true'
  if (error.message.startsWith('Unknown RESP type ')) return 'it does not speak the protocol of Redis'
  // Redis Cluster: the error of the last node says more than that all nodes failed.
  if ('lastNodeError' in error && error.lastNodeError) return reasonOf(error.lastNodeError)
  return error.message
}
