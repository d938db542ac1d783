import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { RedisScript } from './redis-scripts.ts'
import type { RedisAddress } from './redis-url.ts'

export type RedisClient = Redis | Cluster

export interface RedisTimeouts {
  /** Milliseconds, as all of these. */
  readonly command: number
  readonly connect: number
}

/** A client not yet connected, which neither reconnects nor repeats anything: who uses it decides about that. */
export function createRedisClient(address: RedisAddress, timeouts: RedisTimeouts): RedisClient {
  const options = {
    lazyConnect: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    // Whether Redis is loading is told by its answers, too, and without the rights that INFO needs.
    enableReadyCheck: false,
    connectTimeout: timeouts.connect,
    // Whoever waits for a command has stopped before: this is for what the client sends of its own.
    commandTimeout: 2 * timeouts.command,
    disconnectTimeout: 50,
    ...(address.tls ? { tls: {} } : {}),
    ...(address.username ? { username: address.username } : {}),
    ...(address.password ? { password: address.password } : {}),
    db: address.database,
  } satisfies RedisOptions
  if (!address.cluster) return new Redis({ ...options, ...address.nodes[0] })
  return new Cluster([...address.nodes], {
    lazyConnect: true,
    // A node is connected by its first command, and those after it wait for that: as long as for an answer, no longer.
    enableOfflineQueue: true,
    clusterRetryStrategy: null,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    maxRedirections: 4,
    slotsRefreshTimeout: timeouts.connect,
    // Names as they are: certificates are for them, not for addresses.
    dnsLookup: (host, done) => done(null, host),
    redisOptions: options,
  })
}

/** Runs a script by its name, and by its text where Redis has not met it or has forgotten it. */
export async function runScript(
  client: RedisClient,
  { lua, sha }: RedisScript,
  keys: readonly string[],
  values: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await client.evalsha(sha, keys.length, ...keys, ...values)
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error
    return client.eval(lua, keys.length, ...keys, ...values)
  }
}
