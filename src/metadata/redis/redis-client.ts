import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { type ScriptCommands, scripts } from './redis-scripts.ts'
import type { RedisAddress } from './redis-url.ts'

export type RedisClient = (Redis | Cluster) & ScriptCommands

/**
 * A client that is not connected yet. It neither reconnects nor repeats a command: its user decides about both. Time-outs
 * in milliseconds.
 */
export function createRedisClient(
  address: RedisAddress,
  timeouts: { readonly command: number; readonly connect: number },
): RedisClient {
  const options = {
    scripts,
    lazyConnect: true,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    // The check needs the right to run INFO. While Redis loads its data, its answers say so too.
    enableReadyCheck: false,
    connectTimeout: timeouts.connect,
    // Callers stop waiting before this. It bounds the commands that the client itself sends.
    commandTimeout: 2 * timeouts.command,
    disconnectTimeout: 50,
    ...(address.tls ? { tls: {} } : {}),
    ...(address.username ? { username: address.username } : {}),
    ...(address.password ? { password: address.password } : {}),
    db: address.database,
  } satisfies RedisOptions
  if (!address.cluster) return new Redis({ ...options, ...address.nodes[0] }) as Redis & ScriptCommands
  return new Cluster([...address.nodes], {
    scripts,
    lazyConnect: true,
    // The first command connects a node, and later ones wait for that connection, no longer than for an answer.
    enableOfflineQueue: true,
    clusterRetryStrategy: null,
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    maxRedirections: 4,
    slotsRefreshTimeout: timeouts.connect,
    // Keep host names: certificates are issued for names, not for addresses.
    dnsLookup: (host, done) => done(null, host),
    redisOptions: options,
  }) as Cluster & ScriptCommands
}
