import { randomBytes } from 'node:crypto'
import { createAdminApp } from './admin/app.ts'
import { EventObserver } from './admin/event-observer.ts'
import { Events } from './admin/events.ts'
import type { AdminSources, Readiness } from './admin/sources.ts'
import { banner } from './banner.ts'
import type { TagPolicy } from './cache/freshness.ts'
import { Mirror } from './cache/mirror.ts'
import type { Observer } from './cache/observer.ts'
import { Maintenance } from './cache/upkeep/maintenance.ts'
import type { Config, UpstreamConfig } from './config/config.ts'
import { createApp } from './http/app.ts'
import { FastPathServer } from './http/fast/fast-path-server.ts'
import { closeWithin, HttpServer } from './http/server.ts'
import { boundAddress, open } from './listener.ts'
import type { ContentIndex } from './metadata/content-index.ts'
import { LayeredStore } from './metadata/layered-store.ts'
import { MemoryTier } from './metadata/memory/memory-tier.ts'
import type { MetadataStore } from './metadata/metadata-store.ts'
import { SqliteStore } from './metadata/sqlite/sqlite-store.ts'
import { DataFolder } from './storage/data-folder.ts'
import { diskOf, tryDisk } from './storage/disk.ts'
import { FileStore } from './storage/file-store.ts'
import { IoThreads } from './storage/io-threads.ts'
import { pathOf } from './storage/layout.ts'
import { Spool } from './storage/spool/spool.ts'
import { Counters } from './telemetry/counters.ts'
import { History } from './telemetry/history.ts'
import { Log } from './telemetry/log.ts'
import { createMetrics } from './telemetry/metrics.ts'
import { type Output, standardOutput, streamOutput } from './telemetry/output.ts'
import { RequestReport } from './telemetry/request-report.ts'
import { RegistryUpstream } from './upstream/registry.ts'
import { FetchPool } from './upstream/transfer/fetch-pool.ts'
import { defaultLimits, type UpstreamLimits } from './upstream/transfer/limits.ts'

export interface ServeEnvironment {
  readonly out: NodeJS.WritableStream
  /** `out` is a terminal. */
  readonly tty: boolean
  readonly version: string
  /** Epoch milliseconds; the wall clock by default. */
  readonly now?: () => number
}

export interface RunningServer {
  /** As bound: `127.0.0.1:5000`. */
  readonly listen: string
  readonly adminListen: string
  /** Not ready any more, and accepts no new connections. Running answers may end until the time-out; then they are cut. */
  stop(reason: string): Promise<void>
}

/** Builds everything and listens. If that fails, closes everything and rejects with an error of one line. */
export async function serve(
  config: Config,
  // The only use of the wall clock.
  { out, tty, version, now = () => Date.now() }: ServeEnvironment,
): Promise<RunningServer> {
  await using stack = new AsyncDisposableStack()

  const output: Output = out === process.stdout ? standardOutput() : streamOutput(out as NodeJS.WriteStream)
  const log = new Log({ level: config.log.level, output, now })
  stack.defer(() => log.flush())
  const counters = new Counters(config.upstreams.map(({ name }) => name))

  const limits = limitsOf(config)
  const threadDied = (error: Error): void => log.error('a thread has died; its work is done without it', { error })
  const threads = stack.use(new FetchPool(threadDied))
  const upstreams = new Map(
    config.upstreams.map((upstream) => [
      upstream.name,
      stack.use(createUpstream(upstream, { limits, threads, now, log })),
    ]),
  )
  const reports = () => [...upstreams.values()].map((upstream) => upstream.status())
  const events = new Events({ upstreams: reports, now })
  const observer = new EventObserver({ counters, log, now }, events)

  const root = config.storage.path
  stack.use(await DataFolder.open(root))
  const ioThreads = stack.use(new IoThreads(threadDied))
  const store = new FileStore(root, ioThreads)
  const { metadata, index } = await openMetadata(config, { log, observer, counters })
  stack.use(metadata)
  const onFailure = (error: unknown): void => observer.storeFailed('metadata', error)
  const history = stack.use(await History.open({ counters, store: index, now, onFailure }))

  const policies = new Map<string, TagPolicy>(
    config.upstreams.map(({ name, tagTtl, staleFor }) => [name, { ttl: tagTtl, staleFor }]),
  )
  const mirror = stack.use(
    new Mirror({
      upstreams,
      store,
      metadata,
      createSpool: (relieve) => Spool.create(pathOf(root, { kind: 'spool' }), { relieve, ioThreads }),
      observer,
      now,
      policy: (name) => policies.get(name) ?? { ttl: 0, staleFor: 0 },
      timeouts: config.timeouts,
      limits: config.limits,
      index,
      nonce: randomBytes(8).toString('hex'),
      disk: () => diskOf(root),
      bounds: config.storage,
    }),
  )

  const forgetTagsAfter = Math.max(...config.upstreams.map(({ tagTtl, staleFor }) => tagTtl + staleFor))
  const { eviction, scrub } = mirror
  const { scrubRate } = config.storage
  const tryStorage = async (): Promise<void> => {
    if (!counters.failing.has('storage')) return
    await tryDisk(pathOf(root, { kind: 'spool' }))
    observer.storeWorks()
  }
  stack.use(new Maintenance({ eviction, scrub, index, observer, now, scrubRate, forgetTagsAfter, tryStorage }))

  let readiness: Readiness = 'starting'
  const sources: AdminSources = {
    readiness: () => readiness,
    upstreams: reports,
    usage: async () => {
      // A failing disk is reported elsewhere.
      const maxBytes = await mirror.eviction.bound().catch(() => config.storage.maxSize ?? 0)
      return { ...(await metadata.usage()), maxBytes }
    },
    disk: () => diskOf(root).catch(() => undefined),
    scrub: () => mirror.scrub.status,
    degraded: () => [...counters.failing, ...degradedOf(upstreams.values())],
    fills: () => [...mirror.fills].map((fill) => fill.progress),
    evictions: () => counters.evictedBlobs,
    series: () => history.series(),
    probe: () => mirror.probe.reference,
  }
  const registry = new FastPathServer(
    createApp({
      mirror,
      routing: {
        basePath: config.basePath,
        upstreams: new Set(upstreams.keys()),
        defaultUpstream: config.defaultUpstream,
      },
      report: new RequestReport({ counters, log }),
      now,
      clientTimeout: config.timeouts.client,
    }),
  )
  const admin = new HttpServer(
    createAdminApp({
      token: config.admin.token?.reveal(),
      boundHost: config.admin.listen.host,
      hosts: config.admin.hosts,
      sources,
      actions: mirror,
      events,
      counters,
      metrics: createMetrics({ counters, sources, log, version }),
      log,
      now,
    }).callback(),
  )
  // The admin listener closes last, so that it can be asked during a stop.
  stack.defer(() => closeWithin(admin, 0))
  stack.use(events)
  await open(admin, config.admin.listen)
  stack.defer(() => closeWithin(registry, 0))
  await open(registry, config.listen)
  readiness = 'ready'

  const stopping = new AbortController()
  if ((await metadata.usage()).blobs === 0) {
    const rebuilding = mirror.rebuild(stopping.signal)
    stack.defer(() => rebuilding)
  }
  const [bound, adminBound] = [boundAddress(registry), boundAddress(admin)]
  if (tty) out.write(banner({ config, version, listen: bound, adminListen: adminBound, probe: mirror.probe.reference }))
  log.info('listening', {
    listen: bound,
    admin: adminBound,
    probe: mirror.probe.reference,
    storage: root,
    upstreams: [...upstreams.keys()],
    version,
  })

  const resources = stack.move()
  return {
    listen: bound,
    adminListen: adminBound,
    async stop(reason) {
      log.info('stopping', { reason })
      readiness = 'stopping'
      stopping.abort()
      await closeWithin(registry, config.timeouts.shutdown)
      await resources.disposeAsync()
    },
  }
}

async function openMetadata(
  { storage, metadata }: Config,
  { log, observer, counters }: { log: Log; observer: Observer; counters: Counters },
): Promise<{ metadata: MemoryTier; index: ContentIndex }> {
  const onFailure = (error: unknown): void => observer.storeFailed('metadata', error)
  const sqlite = SqliteStore.open(pathOf(storage.path, { kind: 'metadata' }), {
    onDamage: (setAside, error) =>
      log.error('the metadata was damaged; an empty database has replaced it', { setAside, error }),
    moving: { onFailure },
    pins: {
      path: pathOf(storage.path, { kind: 'pins' }),
      onDamage: (setAside, error) => log.error('the file of pins cannot be read', { setAside, error }),
    },
  })
  const { index } = sqlite
  const tier = (store: MetadataStore) => ({ metadata: new MemoryTier({ store, accesses: index, onFailure }), index })
  if (metadata.kind === 'sqlite') return tier(sqlite)
  // Loaded only when it is needed: it is the largest of the libraries.
  const { RedisStore } = await import('./metadata/redis/redis-store.ts')
  const redis = await RedisStore.open(metadata.url.reveal(), {
    commandTimeout: metadata.commandTimeout,
    onUnavailable: (trouble) => {
      counters.failing.add('redis')
      log.error('redis is unavailable; going on without it', { reason: trouble.message })
    },
    onAvailable: () => {
      counters.failing.delete('redis')
      log.info('redis is available again')
    },
  })
  return tier(new LayeredStore(redis, sqlite, { onFailure }))
}

function limitsOf({ timeouts, limits }: Config): UpstreamLimits {
  return {
    ...defaultLimits,
    connect: timeouts.connect,
    headers: timeouts.upstreamHeaders,
    stall: timeouts.upstreamStall,
    token: timeouts.token,
    manifestBytes: limits.manifestSize,
    redirects: limits.redirects,
  }
}

function createUpstream(
  { name, url, login, tokenRealm, privateRepositories }: UpstreamConfig,
  { limits, threads, now, log }: { limits: UpstreamLimits; threads: FetchPool; now: () => number; log: Log },
): RegistryUpstream {
  const credential = login && {
    username: login.username,
    ...(login.passwordFile === undefined
      ? { password: login.password.reveal() }
      : { passwordFile: login.passwordFile }),
  }
  return new RegistryUpstream({
    name,
    url: new URL(url),
    credential,
    tokenRealm,
    privateRepositories,
    limits,
    threads,
    now,
    hooks: {
      onRefused: ({ restsUntil, ...refusal }) => {
        const facts = { upstream: name, ...refusal, until: new Date(restsUntil).toISOString() }
        log.error('the login was refused; public images are pulled without it', facts)
      },
      onUnreadable: (repository) =>
        log.warn('not readable without a login; privateRepositories: refuse', { upstream: name, repository }),
    },
  })
}

function degradedOf(upstreams: Iterable<RegistryUpstream>): string[] {
  return [...upstreams].filter(({ restsUntil }) => restsUntil !== undefined).map(({ name }) => `upstream:${name}`)
}
