import { createHash } from 'node:crypto'
import {
  type Agent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request,
} from 'node:http'

export interface RequestOptions {
  readonly method?: string
  readonly headers?: OutgoingHttpHeaders
  /** Sent as it is, instead of the URL's path. */
  readonly path?: string
  readonly body?: string | Buffer
  /** A connection of its own, unless given. */
  readonly agent?: Agent
}

export interface GetOptions extends RequestOptions {
  /** Whole bodies up to this many bytes are kept; 8 MiB unless given. */
  readonly keep?: number
  /** Leaves after so many bytes. */
  readonly readBytes?: number
  /** Awaited after each chunk; meanwhile nothing is read. */
  readonly pace?: (received: number) => unknown
}

/** How the connection ended, where it ended before the body did. */
export type Ending = 'fin' | 'rst' | undefined

export interface Received {
  /** 0 where there was no answer. */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** sha256 of what was received. */
  readonly digest: string
  readonly bytes: number
  /** Whether the body ended as HTTP says it must: by its length, or by the last chunk. */
  readonly complete: boolean
  readonly closedBy: Ending
  /** Undefined where it was longer than `keep`. */
  readonly body: Buffer | undefined
  readonly error: Error | undefined
  text(): string
  json<T = unknown>(): T
}

/** Never throws for what a server does: a broken body is not `complete`, a refused connection has status 0. */
export async function get(url: string, options: GetOptions = {}): Promise<Received> {
  const { readBytes = Number.POSITIVE_INFINITY, keep = 8 * 1024 * 1024, pace } = options
  const hash = createHash('sha256')
  const kept: Buffer[] = []
  let bytes = 0
  await using reader = await open(url, options)
  while (bytes < readBytes) {
    const chunk = await reader.some(readBytes - bytes)
    if (!chunk) break
    hash.update(chunk)
    bytes += chunk.length
    if (bytes <= keep) kept.push(chunk)
    await pace?.(bytes)
  }
  const body = bytes <= keep ? Buffer.concat(kept) : undefined
  const { status, headers, complete, closedBy, error } = reader
  const text = () => (body ?? Buffer.alloc(0)).toString()
  const digest = `sha256:${hash.digest('hex')}`
  return { status, headers, digest, bytes, complete, closedBy, body, error, text, json: () => JSON.parse(text()) }
}

/** Resolves with the headers; the body is read when asked for, and so the server feels a reader that does not read. */
export function open(url: string, options: RequestOptions = {}): Promise<Reader> {
  const { promise, resolve } = Promise.withResolvers<Reader>()
  const { method = 'GET', headers = {}, agent = false, path, body } = options
  const sent = request(url, { method, headers, agent, ...(path !== undefined && { path }) })
  const reader = new Reader(() => sent.destroy())
  sent.on('error', (error: NodeJS.ErrnoException) => {
    reader.fail(error)
    resolve(reader)
  })
  sent.on('socket', (socket) => {
    socket.on('end', () => reader.closed('fin'))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET' && error.syscall === 'read') reader.closed('rst')
    })
  })
  sent.on('response', (response) => {
    reader.attach(response)
    resolve(reader)
  })
  sent.end(body)
  return promise
}

/** One answer, read piece by piece. */
export class Reader implements AsyncDisposable {
  readonly #abort: () => void
  #response: IncomingMessage | undefined
  #rest: Buffer = Buffer.alloc(0)
  #error: Error | undefined
  #ending: Ending
  #wake = Promise.withResolvers<void>()
  #over = false

  constructor(abort: () => void) {
    this.#abort = abort
  }

  get status(): number {
    return this.#response?.statusCode ?? 0
  }

  get headers(): IncomingHttpHeaders {
    return this.#response?.headers ?? {}
  }

  get complete(): boolean {
    return this.#over && this.#error === undefined && (this.#response?.complete ?? false)
  }

  get closedBy(): Ending {
    return this.complete ? undefined : this.#ending
  }

  get error(): Error | undefined {
    return this.#error
  }

  /** Exactly `count` bytes; fewer only where the body ends. */
  async read(count: number): Promise<Buffer> {
    const chunks: Buffer[] = []
    let missing = count
    while (missing > 0) {
      const chunk = await this.some(missing)
      if (!chunk) break
      chunks.push(chunk)
      missing -= chunk.length
    }
    return Buffer.concat(chunks)
  }

  /** What is there, at least one byte and at most `most`; undefined at the end, broken or not. */
  async some(most = Number.POSITIVE_INFINITY): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const chunk = this.#response?.read() as Buffer | null | undefined
      if (chunk) this.#rest = chunk
      else if (this.#over) return undefined
      else await this.#wake.promise
    }
    const taken = this.#rest.subarray(0, Math.min(most, this.#rest.length))
    this.#rest = this.#rest.subarray(taken.length)
    return taken
  }

  /** Leaves. */
  abort(): void {
    this.#abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort()
  }

  attach(response: IncomingMessage): void {
    this.#response = response
    response.on('readable', () => this.#awaken())
    response.on('end', () => this.#finish(undefined))
    response.on('error', (error) => this.#finish(error))
    response.on('close', () => this.#finish(undefined))
  }

  fail(error: Error): void {
    this.#finish(error)
  }

  closed(ending: Ending): void {
    this.#ending ??= ending
  }

  #finish(error: Error | undefined): void {
    this.#error ??= error
    this.#over = true
    this.#awaken()
  }

  #awaken(): void {
    this.#wake.resolve()
    this.#wake = Promise.withResolvers()
  }
}
