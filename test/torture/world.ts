import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mountTinyDisk, type TinyDisk } from '../cache/support/tiny-disk.ts'
import { RedisServer } from '../metadata/redis/redis-server.ts'
import { selfSigned } from '../support/certificate.ts'
import { type Catalogue, catalogueOf } from './catalogue.ts'
import { Clock } from './clock.ts'
import { Findings } from './findings.ts'
import { History } from './history.ts'
import { Lag } from './lag.ts'
import { Mirror } from './mirror.ts'
import { type TortureOptions, UsageError } from './options.ts'
import { Random } from './random.ts'
import { Reads } from './reads.ts'
import { UpstreamHandle } from './upstream-handle.ts'

/** The mirror, everything around it, and what is known of both. */
export class World implements AsyncDisposable {
  readonly options: TortureOptions
  readonly random: Random
  readonly catalogue: Catalogue
  readonly history = new History()
  readonly reads = new Reads()
  readonly findings: Findings
  readonly hints = new Set<string>()
  readonly dataFolder: string
  readonly maxSize: number
  readonly mirror: Mirror
  readonly upstream: UpstreamHandle
  readonly clock: Clock | undefined
  readonly disk: TinyDisk | undefined
  readonly redis: RedisServer | undefined
  /** What cannot be done here, and why. */
  readonly skipped: readonly string[]
  readonly #lag: Lag
  readonly #stack: AsyncDisposableStack

  private constructor(parts: {
    options: TortureOptions
    random: Random
    catalogue: Catalogue
    dataFolder: string
    maxSize: number
    mirror: Mirror
    upstream: UpstreamHandle
    clock: Clock | undefined
    disk: TinyDisk | undefined
    redis: RedisServer | undefined
    skipped: readonly string[]
    lag: Lag
    stack: AsyncDisposableStack
    listener: Listener
  }) {
    this.options = parts.options
    this.random = parts.random
    this.catalogue = parts.catalogue
    this.dataFolder = parts.dataFolder
    this.maxSize = parts.maxSize
    this.mirror = parts.mirror
    this.upstream = parts.upstream
    this.clock = parts.clock
    this.disk = parts.disk
    this.redis = parts.redis
    this.skipped = parts.skipped
    this.#lag = parts.lag
    this.#stack = parts.stack
    this.findings = new Findings(
      () => [...this.history.last(12), '--', ...this.mirror.lastLines.slice(-15)],
      () => this.hints,
    )
    parts.listener.world = this
    for (const tag of this.catalogue.tags) {
      const [first] = tag.versions
      if (first) this.history.pointTag(`${tag.repository}:${tag.tag}`, first.digest)
    }
  }

  /** Throws UsageError where the options ask for what cannot be had here. */
  static async make(options: TortureOptions): Promise<World> {
    expectPrograms(options)
    if (options.keep !== undefined) await expectWritable(options.keep)
    await using stack = new AsyncDisposableStack()
    const folder = await mkdtemp(join(tmpdir(), 'entrepot-torture-'))
    stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
    const random = new Random(`torture ${options.seed}`)
    const catalogue = catalogueOf(random.fork('content'), options.disk)
    const disk = options.disk === undefined ? undefined : stack.use(await mounted(options.disk))
    const redis = options.redis ? stack.use(await startedRedis()) : undefined
    const clock = await Clock.make(folder)
    const identity = options.tls ? selfSigned() : undefined
    const certificate = identity && join(folder, 'upstream.pem')
    if (certificate !== undefined && identity) await writeFile(certificate, identity.cert)
    const listener: Listener = { world: undefined }
    const sturdy = catalogue.tags.filter(({ fragile }) => !fragile).map(({ repository }) => repository)
    const upstream = stack.use(
      await UpstreamHandle.start({ seed: options.seed, disk: options.disk, identity, sturdy }, (told) => {
        const { world } = listener
        if (!world) return
        if (told.type === 'fetched-twice') return void world.suspectFetch(told.digest, told.detail)
        const { repository = '', reference = '', name } = told
        world.history.lied(repository, reference, name)
      }),
    )
    const dataFolder = disk ? disk.path : join(folder, 'data')
    const maxSize = options.disk === undefined ? 240_000_000 : options.disk
    const settings = {
      folder,
      dataFolder,
      upstream: upstream.url,
      maxSize,
      redis: redis?.url,
      certificate,
      environment: typeof clock === 'string' ? {} : clock.environment,
      options,
    }
    const mirror = stack.use(await Mirror.make(settings, (line) => listener.world?.hear(line)))
    const skipped = typeof clock === 'string' ? [`steps of the clock: ${clock}`] : []
    const lag = stack.use(new Lag())
    return new World({
      options,
      random,
      catalogue,
      dataFolder,
      maxSize,
      mirror,
      upstream,
      clock: typeof clock === 'string' ? undefined : clock,
      disk,
      redis,
      skipped,
      lag,
      stack: stack.move(),
      listener,
    })
  }

  /** Milliseconds since `from` in which the mirror could not answer, or this process could not hear it. */
  readonly excused = (from: number): number => this.mirror.gapSince(from) + this.#lag.since(from)

  /** Something is done to the mirror or its world, now. */
  did(what: string, hint: string): void {
    this.history.record(what)
    this.hints.add(hint)
  }

  /** The upstream saw a download that was not needed, unless something that happened lately explains it. */
  async suspectFetch(digest: string, detail: string): Promise<void> {
    const since = performance.now() - 6000
    // What explains it may be told a little later, by the mirror's log.
    await sleep(1000)
    const touched = this.history.touchedAt(digest) ?? 0
    // A blob that is not stored for want of room is fetched again; so is what an upstream that goes away has cut.
    const excuses = ['fill-disk', 'disk', 'outage', 'narrow', 'step-clock', 'redis']
    if (touched > since || this.mirror.hadGapSince(since) || excuses.some((what) => this.history.has(what, since)))
      return
    // The log tells of a store that fails once a minute.
    if (this.history.has('no room', since - 60_000)) return
    this.findings.add('fetched-twice', digest, detail)
  }

  /** A line of the mirror's log. */
  hear(line: string): void {
    if (['no room', 'ENOSPC', 'EMFILE'].some((word) => line.includes(word))) this.history.record('no room')
    if (line.includes('"method":"GET","kind":"blob"') && line.includes('"status":200')) {
      const { reference, bytes } = JSON.parse(line) as { reference: string; bytes: number }
      this.history.sent(reference, bytes)
    }
    if (line.includes('"suspect')) this.history.record('suspect')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}

interface Listener {
  world: World | undefined
}

/** Throws UsageError where a program is missing, or cannot do what is asked of it. */
function expectPrograms({ redis, descriptors }: TortureOptions): void {
  const commands: [flag: string, ...command: string[]][] = []
  if (redis) commands.push(['--redis', 'redis-server', '--version'])
  if (descriptors !== undefined) {
    commands.push(['--descriptors', 'prlimit', `--nofile=${descriptors}`, process.execPath, '--version'])
  }
  for (const [flag, program = '', ...rest] of commands) {
    const { status, error, stderr } = spawnSync(program, rest, { encoding: 'utf8' })
    if (error) throw new UsageError(`${flag}: ${program} cannot be run: ${error.message}`)
    if (status !== 0) throw new UsageError(`${flag}: ${stderr.trim().split('\n')[0]}`)
  }
}

async function expectWritable(path: string): Promise<void> {
  try {
    await writeFile(path, '')
  } catch (error) {
    throw new UsageError(`--keep: ${(error as Error).message}`, { cause: error })
  }
}

async function mounted(bytes: number): Promise<TinyDisk> {
  const disk = await mountTinyDisk(bytes)
  if (typeof disk === 'string') throw new UsageError(`--disk: ${disk.split('\n')[0]}`)
  return disk
}

async function startedRedis(): Promise<RedisServer> {
  try {
    return await RedisServer.start()
  } catch (error) {
    throw new UsageError(`--redis: ${(error as Error).message}`, { cause: error })
  }
}
