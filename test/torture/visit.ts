import { createHash } from 'node:crypto'
import { type Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** How a client asks, and how it behaves while it is answered. */
export interface Visit {
  readonly method: 'GET' | 'HEAD'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly agent: Agent | undefined
  /** Bytes a second that it takes; as fast as they come unless given. */
  readonly rate?: number
  /** Leaves once it has so many bytes of the body. */
  readonly leaveAfter?: number
  /** Leaves after so many milliseconds, whatever has come. */
  readonly leaveIn?: number
  /** Takes nothing for so many milliseconds, then what there is. */
  readonly pauseFor?: number
  /** Called when the head is there. */
  readonly onHead?: (status: number, headers: IncomingHttpHeaders) => void
  /** Compares what comes with what is true: false at the first byte that differs. `at` is the place in the body. */
  readonly check?: (at: number, chunk: Buffer) => boolean
}

export interface VisitLimits {
  /** Milliseconds without an answer's head, and without a byte of its body, that are too many. */
  readonly head: number
  readonly silence: number
  /** Milliseconds since `from` that are nobody's fault: the mirror was stopped, or this process was late. */
  readonly excused: (from: number) => number
  /** When it is aborted, the client leaves. */
  readonly leave: AbortSignal
}

/** Places in a body; `to` is not part of it. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** What came of it. */
export interface Seen {
  /** 0 where there was no answer. */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly bytes: number
  /** sha256 of the body. */
  readonly digest: string
  /** The body, up to 1 MiB of it. */
  readonly body: Buffer
  /** It ended as its framing says that it must. */
  readonly complete: boolean
  /** Where in the body the first wrong bytes came, as far as there was something to compare with. */
  readonly wrong: Span | undefined
  /** The client left before the end. */
  readonly left: boolean
  /** What was waited for longer than the limit allows. */
  readonly overdue: 'head' | 'body' | undefined
  /** Milliseconds, by `performance.now`. */
  readonly startedAt: number
  readonly endedAt: number
  readonly error: string | undefined
}

const kept = 1024 * 1024
const look = 250

/** Asks, reads to the end or leaves. Never throws for what a server does. */
export async function visit(base: string, asked: Visit, limits: VisitLimits): Promise<Seen> {
  return await new Visitor(asked, limits).run(base)
}

class Visitor {
  readonly #visit: Visit
  readonly #limits: VisitLimits
  readonly #startedAt = performance.now()
  readonly #hash = createHash('sha256')
  readonly #chunks: Buffer[] = []
  readonly #done = Promise.withResolvers<void>()
  #response: IncomingMessage | undefined
  #destroy: () => void = () => {}
  #bytes = 0
  #lastAt = performance.now()
  #wrong: Span | undefined
  #left = false
  #overdue: 'head' | 'body' | undefined
  #error: string | undefined

  constructor(asked: Visit, limits: VisitLimits) {
    this.#visit = asked
    this.#limits = limits
  }

  async run(base: string): Promise<Seen> {
    const { method, path, headers, agent, leaveIn } = this.#visit
    const sent = request(base + path, { method, headers, agent: agent ?? false })
    this.#destroy = () => sent.destroy()
    sent.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message))
    sent.on('response', (response) => {
      this.#response = response
      this.#lastAt = performance.now()
      this.#visit.onHead?.(response.statusCode ?? 0, response.headers)
      void this.#read(response)
    })
    sent.end()
    const goHome = () => this.#leave()
    const { leave: told } = this.#limits
    told.addEventListener('abort', goHome, { once: true })
    const watch = setInterval(() => this.#look(), look)
    const leave = leaveIn === undefined ? undefined : setTimeout(() => this.#leave(), leaveIn)
    await this.#done.promise
    told.removeEventListener('abort', goHome)
    clearInterval(watch)
    clearTimeout(leave)
    const response = this.#response
    return {
      status: response?.statusCode ?? 0,
      headers: response?.headers ?? {},
      bytes: this.#bytes,
      digest: `sha256:${this.#hash.digest('hex')}`,
      body: Buffer.concat(this.#chunks),
      complete: !this.#left && this.#error === undefined && (response?.complete ?? false),
      wrong: this.#wrong,
      left: this.#left,
      overdue: this.#overdue,
      startedAt: this.#startedAt,
      endedAt: performance.now(),
      error: this.#error,
    }
  }

  async #read(response: IncomingMessage): Promise<void> {
    response.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message))
    response.on('close', () => this.#end(response.complete ? undefined : 'cut'))
    const { rate, leaveAfter = Number.POSITIVE_INFINITY, pauseFor } = this.#visit
    try {
      if (pauseFor !== undefined) await sleep(pauseFor)
      this.#lastAt = performance.now()
      for await (const chunk of response as AsyncIterable<Buffer>) {
        this.#take(chunk)
        if (this.#bytes >= leaveAfter) return this.#leave()
        if (rate !== undefined) await sleep((chunk.length / rate) * 1000)
        this.#lastAt = performance.now()
      }
    } catch {
      // Told by `error` and `close`.
    }
  }

  #take(chunk: Buffer): void {
    this.#lastAt = performance.now()
    this.#hash.update(chunk)
    if (!this.#wrong && this.#visit.check?.(this.#bytes, chunk) === false) {
      this.#wrong = { from: this.#bytes, to: this.#bytes + chunk.length }
    }
    this.#bytes += chunk.length
    if (this.#bytes <= kept) this.#chunks.push(chunk)
  }

  #look(): void {
    const { head, silence, excused } = this.#limits
    if (this.#response && this.#visit.pauseFor !== undefined) return
    const since = this.#response ? this.#lastAt : this.#startedAt
    const waited = performance.now() - since - excused(since)
    if (waited <= (this.#response ? silence : head)) return
    this.#overdue = this.#response ? 'body' : 'head'
    this.#destroy()
    this.#end('overdue')
  }

  #leave(): void {
    this.#left = true
    this.#destroy()
    this.#end(undefined)
  }

  #end(error: string | undefined): void {
    this.#error ??= error
    this.#done.resolve()
  }
}
