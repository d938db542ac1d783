/** Where Redis is, by its URL. */
export interface RedisAddress {
  readonly nodes: readonly { readonly host: string; readonly port: number }[]
  /** A Redis Cluster: `nodes` are some of its nodes, which name the others. */
  readonly cluster: boolean
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: string | undefined
  readonly database: number
}

const example = 'redis://[user:password@]host[:port][/database], rediss:// for TLS, ?cluster=true for Redis Cluster'

/**
 * `redis://user:password@host:6379/0`; `rediss://…` for TLS. A Redis Cluster is `redis://host:6379?cluster=true`;
 * `&node=host:6379` adds a node to try if the first one is down.
 * Errors do not repeat the URL: it may hold a password.
 */
export function parseRedisUrl(text: string): RedisAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^rediss?:$/.test(url.protocol) || url.hostname === '') throw new Error(`a Redis URL must be ${example}`)
  const unknown = [...url.searchParams.keys()].find((key) => key !== 'cluster' && key !== 'node')
  if (unknown !== undefined) throw new Error(`a Redis URL has no parameter ${unknown}; it must be ${example}`)
  const database = /^\/?(\d*)$/.exec(url.pathname)?.[1]
  if (database === undefined) throw new Error(`the path of a Redis URL is the number of a database: ${example}`)
  const cluster = url.searchParams.get('cluster') === 'true'
  if (cluster && Number(database) !== 0) throw new Error('a Redis Cluster has one database, 0')
  const more = url.searchParams.getAll('node').map((node) => `${url.protocol}//${node}`)
  if (!cluster && more.length > 0) throw new Error('a Redis URL with more than one node must have cluster=true')
  return {
    nodes: [url.href, ...more].map(parseNode),
    cluster,
    tls: url.protocol === 'rediss:',
    username: decoded(url.username),
    password: decoded(url.password),
    database: Number(database),
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text) || undefined
  } catch {
    // Without the cause: it would repeat the text, which may be a password.
    throw new Error('in a Redis URL, a % in a user or password is written %25')
  }
}

function parseNode(text: string): { host: string; port: number } {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || url.hostname === '') throw new Error('a node of a Redis Cluster must be host:port')
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 6379) }
}
