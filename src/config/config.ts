import type { Address } from './address.ts'
import type { Secret } from './secret.ts'

/**
 * Everything that can be configured, checked and with its defaults: deep-frozen. Sizes are bytes, durations
 * milliseconds, paths absolute, names canonical.
 */
export interface Config {
  readonly listen: Address
  /** '' or such as `/mirror`: begins with a slash and does not end with one. */
  readonly basePath: string
  readonly admin: AdminConfig
  readonly storage: StorageConfig
  readonly metadata: MetadataConfig
  /** The name of one of `upstreams`. */
  readonly defaultUpstream: string
  /** Those that may be asked, and no other; at least one, each name once, in order of name. */
  readonly upstreams: readonly UpstreamConfig[]
  readonly timeouts: TimeoutsConfig
  readonly limits: LimitsConfig
  readonly log: LogConfig
}

export interface AdminConfig {
  readonly listen: Address
  /** Always set where `listen` is not a loopback address. */
  readonly token: Secret | undefined
  /** Host names to answer to, besides loopback's and the bound address; lower-case, without a port. */
  readonly hosts: readonly string[]
}

export interface StorageConfig {
  readonly kind: 'file'
  readonly path: string
  /** Bytes; undefined where the disk alone is the bound. */
  readonly maxSize?: number | undefined
  /** Undefined for never. */
  readonly maxIdle?: number | undefined
  /** Bytes a second; 0 for never. */
  readonly scrubRate: number
}

export type MetadataConfig = SqliteConfig | RedisConfig

export interface SqliteConfig {
  readonly kind: 'sqlite'
}

export interface RedisConfig {
  readonly kind: 'redis'
  /** A secret because a password may be part of it. */
  readonly url: Secret
  /** How long one command may take before Redis counts as silent. */
  readonly commandTimeout: number
}

export interface UpstreamConfig {
  /** As users write it: `docker.io`, `registry.local:5000`. */
  readonly name: string
  /** An absolute URL; a path in it stands before `/v2/`. No slash at the end. */
  readonly url: string
  readonly login: LoginConfig | undefined
  /** Where the login may go besides the registry's own registrable domain: a host, `host:port` or a URL. */
  readonly tokenRealm: string | undefined
  /** Whether content that only the login can read is served. */
  readonly privateRepositories: 'refuse' | 'serve'
  readonly tagTtl: number
  /** How long after its time a tag may still be answered while the upstream cannot be asked. */
  readonly staleFor: number
}

export interface LoginConfig {
  readonly username: string
  readonly password: Secret
  /** Where the password was read from, and can be read again; undefined where it was written out. */
  readonly passwordFile: string | undefined
}

export interface TimeoutsConfig {
  readonly connect: number
  readonly upstreamHeaders: number
  readonly upstreamStall: number
  readonly token: number
  readonly tagDeadline: number
  readonly client: number
  readonly shutdown: number
}

export interface LimitsConfig {
  /** Bytes. */
  readonly manifestSize: number
  readonly redirects: number
  /** Fills that may run without a follower. */
  readonly unfollowedFills: number
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const

export interface LogConfig {
  readonly level: (typeof logLevels)[number]
}
