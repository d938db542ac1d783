import type { Address } from './address.ts'
import type { Secret } from './secret.ts'

/**
 * The whole configuration, checked, with defaults, deep-frozen. Sizes are bytes, durations milliseconds, paths absolute,
 * names canonical.
 */
export interface Config {
  readonly listen: Address
  /** '' or a path such as `/mirror`, without a slash at its end. */
  readonly basePath: string
  readonly admin: AdminConfig
  readonly storage: StorageConfig
  readonly metadata: MetadataConfig
  /** The name of one of `upstreams`. */
  readonly defaultUpstream: string
  /** The registries that may be asked; at least one, each name once, in order of name. */
  readonly upstreams: readonly UpstreamConfig[]
  readonly timeouts: TimeoutsConfig
  readonly limits: LimitsConfig
  readonly log: LogConfig
}

export interface AdminConfig {
  readonly listen: Address
  /** Always set if `listen` is not a loopback address. */
  readonly token: Secret | undefined
  /** Host names that requests may use, besides loopback names and the bound address; lower-case, without a port. */
  readonly hosts: readonly string[]
}

export interface StorageConfig {
  readonly kind: 'file'
  readonly path: string
  /** Bytes; undefined if only the disk bounds the store. */
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
  /** A command that takes longer makes Redis count as unavailable. */
  readonly commandTimeout: number
}

export interface UpstreamConfig {
  /** As users write it: `docker.io`, `registry.local:5000`. */
  readonly name: string
  /** An absolute URL without a slash at its end. Its path is put before `/v2/`. */
  readonly url: string
  readonly login: LoginConfig | undefined
  /** Where else the login may be sent, besides the registry's registrable domain: a host, `host:port` or a URL. */
  readonly tokenRealm: string | undefined
  /** Whether content that only the login can read is served to clients. */
  readonly privateRepositories: 'refuse' | 'serve'
  readonly tagTtl: number
  /** How long after `tagTtl` a tag may be served while the upstream is unavailable. */
  readonly staleFor: number
}

export interface LoginConfig {
  readonly username: string
  readonly password: Secret
  /** The file that the password was read from, to read it again; undefined if the configuration has it. */
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
