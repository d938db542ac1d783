import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../e2e/support/port.ts'
import { get } from '../support/client.ts'
import type { TortureOptions } from './options.ts'

const program = fileURLToPath(new URL('../../src/entrepot.cjs', import.meta.url))
const withoutKoffi = new URL('./without-koffi.mjs', import.meta.url).href

/** Seconds. Short, so that much happens in few minutes. */
export const timeouts = {
  connect: 2,
  upstreamHeaders: 3,
  upstreamStall: 2,
  token: 3,
  tagDeadline: 1,
  client: 10,
  shutdown: 5,
  tagTtl: 2,
} as const

export interface MirrorSettings {
  readonly folder: string
  readonly dataFolder: string
  readonly upstream: string
  readonly maxSize: number
  readonly redis: string | undefined
  /** PEM file with what else is trusted. */
  readonly certificate: string | undefined
  readonly environment: Readonly<Record<string, string>>
  readonly options: Pick<TortureOptions, 'sendfile' | 'descriptors' | 'keep'>
}

/** A time in which the mirror was not running, or stopped, on purpose. Milliseconds, by `performance.now`. */
interface Gap {
  readonly from: number
  to: number
}

const keptLines = 400
/** Milliseconds: beyond what the mirror needs on a machine that is busy, so that a mirror that hangs holds up nobody. */
const patience = { start: 60_000, end: 60_000, admin: 30_000 }

/** The real server as a process that is ended, frozen and started again on the same ports. */
export class Mirror implements AsyncDisposable {
  readonly url: string
  readonly #adminUrl: string
  readonly #settings: MirrorSettings
  readonly #config: string
  readonly #lines: string[] = []
  readonly #gaps: Gap[] = []
  readonly #log: WriteStream | undefined
  readonly #onLine: (line: string) => void
  #child: ChildProcess | undefined
  #gap: Gap | undefined
  /** Those whose end is one that we asked for. */
  readonly #asked = new WeakSet<ChildProcess>()
  #disposed = false
  #onDeath: (how: string) => void = () => {}

  private constructor(settings: MirrorSettings, ports: readonly [number, number], onLine: (line: string) => void) {
    this.#settings = settings
    this.url = `http://127.0.0.1:${ports[0]}`
    this.#adminUrl = `http://127.0.0.1:${ports[1]}`
    this.#config = join(settings.folder, 'entrepot.yaml')
    this.#log = settings.options.keep === undefined ? undefined : createWriteStream(settings.options.keep)
    this.#onLine = onLine
  }

  static async make(settings: MirrorSettings, onLine: (line: string) => void): Promise<Mirror> {
    const ports = [await freePort(), await freePort()] as const
    const mirror = new Mirror(settings, ports, onLine)
    await writeFile(mirror.#config, JSON.stringify(document(settings, ports), undefined, 1))
    return mirror
  }

  /** Called when it ends without having been asked to; it is down then. */
  set onDeath(listener: (how: string) => void) {
    this.#onDeath = listener
  }

  get lastLines(): readonly string[] {
    return this.#lines
  }

  get isUp(): boolean {
    return this.#gap === undefined && this.#child !== undefined
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Milliseconds of the time from `from` to now in which it could not have answered. */
  gapSince(from: number): number {
    const now = performance.now()
    return this.#gaps.reduce((sum, gap) => sum + Math.max(0, Math.min(gap.to, now) - Math.max(gap.from, from)), 0)
  }

  /** Whether it was ended, or frozen, at any time since. */
  hadGapSince(from: number): boolean {
    return this.#gaps.some(({ to }) => to >= from)
  }

  /** Rejects where it does not come to listen. */
  async start(): Promise<void> {
    if (this.#disposed) throw new Error('the run is over')
    const { environment, certificate, options } = this.#settings
    const env = {
      PATH: process.env['PATH'],
      ...environment,
      ...(certificate !== undefined && { NODE_EXTRA_CA_CERTS: certificate }),
      ...(!options.sendfile && { NODE_OPTIONS: `--import ${withoutKoffi}` }),
    }
    const command = [process.execPath, program, 'serve', '--config', this.#config]
    const limited =
      options.descriptors === undefined ? command : ['prlimit', `--nofile=${options.descriptors}`, ...command]
    const [file = '', ...args] = limited
    const child = spawn(file, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    const listening = Promise.withResolvers<void>()
    for (const stream of [child.stdout, child.stderr]) this.#read(stream, listening.resolve)
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined
      if (!this.#asked.has(child)) this.#begin()
    })
    // By then all that it said is here.
    child.once('close', (code, signal) => {
      if (this.#asked.has(child)) return
      const said = this.#lines.findLast((line) => !line.startsWith('{')) ?? ''
      listening.reject(new Error(`the mirror ended with ${signal ?? code} while it started: ${said}`))
      this.#onDeath(`ended by itself with ${signal ?? `status ${code}`}: ${said}`)
    })
    // Whoever starts it waits for this; where nobody does any more, there is no one to tell.
    listening.promise.catch(() => undefined)
    const late = setTimeout(() => {
      this.#asked.add(child)
      child.kill('SIGKILL')
      listening.reject(new Error(`the mirror did not listen within ${patience.start / 1000} s`))
    }, patience.start)
    await listening.promise.finally(() => clearTimeout(late))
    this.#finish()
  }

  /** Sends it a signal that ends it, and waits for the end. Milliseconds that took. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number> {
    const child = this.#child
    // Without a number it was never started, and no end of it will come.
    if (child?.pid === undefined) return 0
    this.#asked.add(child)
    this.#begin()
    const startedAt = performance.now()
    const exit = once(child, 'exit')
    child.kill(signal)
    const forced = setTimeout(() => child.kill('SIGKILL'), patience.end)
    await exit
    clearTimeout(forced)
    this.#child = undefined
    return performance.now() - startedAt
  }

  freeze(): void {
    if (!this.#child) return
    this.#begin()
    this.#child.kill('SIGSTOP')
  }

  thaw(): void {
    this.#child?.kill('SIGCONT')
    this.#finish()
  }

  /** Of the admin API; undefined where there was no answer that is JSON, or not soon. */
  async ask<T>(path: string, method: 'GET' | 'POST' | 'DELETE' = 'GET', body?: unknown): Promise<T | undefined> {
    const agent = new Agent()
    const late = setTimeout(() => agent.destroy(), patience.admin)
    const answer = await get(`${this.#adminUrl}${path}`, {
      method,
      agent,
      headers: method === 'GET' ? {} : { 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    clearTimeout(late)
    if (!answer.complete || answer.status === 0) return undefined
    try {
      return answer.json<T>()
    } catch {
      return undefined
    }
  }

  async descriptors(): Promise<number> {
    return (await readdir(`/proc/${this.pid}/fd`)).length
  }

  /** Resident bytes. */
  async memory(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.thaw()
    await this.end('SIGKILL')
    this.#log?.end()
  }

  #read(stream: NodeJS.ReadableStream, onListening: () => void): void {
    let rest = ''
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => {
      this.#log?.write(text)
      const lines = `${rest}${text}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        this.#lines.push(line)
        if (this.#lines.length > keptLines) this.#lines.shift()
        this.#onLine(line)
        if (line.includes('"msg":"listening"')) onListening()
      }
    })
  }

  #begin(): void {
    if (this.#gap) return
    this.#gap = { from: performance.now(), to: Number.POSITIVE_INFINITY }
    this.#gaps.push(this.#gap)
  }

  #finish(): void {
    if (this.#gap) this.#gap.to = performance.now()
    this.#gap = undefined
  }
}

function document(
  { dataFolder, upstream, maxSize, redis }: MirrorSettings,
  [port, adminPort]: readonly [number, number],
) {
  const { tagTtl, ...rest } = timeouts
  return {
    listen: `127.0.0.1:${port}`,
    admin: { listen: `127.0.0.1:${adminPort}` },
    storage: { path: dataFolder, maxSize: `${maxSize}B`, scrubRate: '16MiB', maxIdle: '5s' },
    ...(redis !== undefined && { metadata: { kind: 'redis', url: redis } }),
    defaultUpstream: 'registry.test',
    upstreams: { 'registry.test': { url: upstream, tagTtl: `${tagTtl}s`, staleFor: '1h' } },
    timeouts: Object.fromEntries(Object.entries(rest).map(([name, seconds]) => [name, `${seconds}s`])),
    log: { level: 'info' },
  }
}
