import type { Dispatcher } from 'undici'
import { releaseChunk } from './chunk.ts'
import type { FetchAnswer, FetchFailure, FetchRequest } from './fetch-messages.ts'
import { PieceWriter } from './piece-writer.ts'
import type { Headers } from './response.ts'
import { BodyTooLong } from './response-body.ts'

/** The event loop hears of so many bytes at once, or of fewer with the next tick. */
const worthTelling = 1024 * 1024

/** What is read of a body nobody wants, in bytes, so that its connection can be used again. */
const worthDiscarding = 16 * 1024

type UpstreamResponse = FetchAnswer extends infer One ? (One extends FetchAnswer ? Omit<One, 'id'> : never) : never

export interface TransferOptions {
  /** Milliseconds. */
  readonly silence: { readonly headers: number; readonly body: number }
  readonly answer: (answer: UpstreamResponse) => void
}

/**
 * One request in the fetch thread: from undici into the file. `FetchedBody` is its other side, and draws its states.
 *
 * undici's handler is paused but while the body flows, so that no chunk comes while a write is refused. A body that is no
 * blob's, of a refusal or a redirect, is discarded here.
 */
export class Transfer implements Dispatcher.DispatchHandler {
  readonly #options: TransferOptions
  #controller: Dispatcher.DispatchController | undefined
  #state: 'connecting' | 'asked' | 'open' | 'flowing' | 'refused' | 'discarding' | 'ended' = 'connecting'
  #writer: PieceWriter | undefined
  #told = 0
  /** Whether the body has ended, and only the writing has not. */
  #isWhole = false
  #discarded = 0
  /** Milliseconds without a byte that was waited for. */
  #silent = 0

  constructor(options: TransferOptions) {
    this.#options = options
  }

  take(request: FetchRequest): void {
    if (request.kind === 'into' && this.#state === 'open') {
      this.#writer = new PieceWriter(request)
      this.#flow()
    } else if (request.kind === 'retry' && this.#state === 'refused') this.#retry()
    else if (request.kind === 'stop') this.#abort({ kind: 'end', reason: 'stopped' })
  }

  tick(elapsed: number): void {
    const { headers, body } = this.#options.silence
    if (this.#state === 'flowing') this.#write((writer) => writer.flush())
    this.#tell()
    const isWaiting = this.#state === 'asked' || this.#state === 'flowing' || this.#state === 'discarding'
    this.#silent = isWaiting ? this.#silent + elapsed : 0
    if (this.#silent > (this.#state === 'asked' ? headers : body)) this.#abort({ kind: 'end', reason: 'silent' })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#state === 'ended') controller.abort(new Error('stopped'))
    else this.#state = 'asked'
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200 || this.#state === 'ended') return
    this.#silent = 0
    this.#state = status === 200 || status === 206 ? 'open' : 'discarding'
    if (this.#state === 'open') controller.pause()
    this.#options.answer({ kind: 'head', status, headers })
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#silent = 0
    if (this.#state === 'discarding') {
      this.#discarded += chunk.length
      if (this.#discarded > worthDiscarding) this.#abort({ kind: 'end', reason: 'stopped' })
      return
    }
    if (this.#state !== 'flowing' || !this.#write((writer) => writer.add(chunk))) return
    releaseChunk(chunk)
    if (this.#untold >= worthTelling) this.#tell()
  }

  onResponseEnd(): void {
    if (this.#state === 'ended') return
    this.#isWhole = true
    if (this.#state === 'flowing' && this.#write((writer) => writer.flush()))
      this.#end({ kind: 'end', reason: 'whole' })
    else if (this.#state === 'discarding') this.#end({ kind: 'end', reason: 'whole' })
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#state === 'flowing') this.#write((writer) => writer.flush())
    this.#end({ kind: 'end', reason: 'failed', error: failureOf(error) })
  }

  get #untold(): number {
    return (this.#writer?.written ?? 0) - this.#told
  }

  #tell(): void {
    const bytes = this.#untold
    if (bytes === 0) return
    this.#told += bytes
    this.#options.answer({ kind: 'written', bytes })
  }

  #flow(): void {
    this.#state = 'flowing'
    if (this.#isWhole) this.onResponseEnd()
    else this.#controller?.resume()
  }

  #retry(): void {
    this.#state = 'flowing'
    if (this.#write((writer) => writer.flush())) this.#flow()
  }

  /** Whether it was written; if not, the event loop knows. */
  #write(work: (writer: PieceWriter) => void): boolean {
    try {
      if (this.#writer) work(this.#writer)
      return true
    } catch (error) {
      if (error instanceof BodyTooLong) this.#abort({ kind: 'end', reason: 'too long' })
      else this.#refused(error)
      return false
    }
  }

  #refused(error: unknown): void {
    this.#state = 'refused'
    if (!this.#isWhole) this.#controller?.pause()
    this.#tell()
    this.#options.answer({ kind: 'refused', error: failureOf(error) })
  }

  #abort(end: UpstreamResponse & { kind: 'end' }): void {
    this.#end(end)
    this.#controller?.abort(new Error(end.reason))
  }

  #end(end: UpstreamResponse & { kind: 'end' }): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#tell()
    this.#options.answer(end)
  }
}

/** A parser's error carries what it could not parse, which may be a token. */
function failureOf(error: unknown): FetchFailure {
  const { name, code, message, socket } = error as {
    name?: unknown
    code?: unknown
    message?: unknown
    socket?: { bytesRead?: number } | null
  }
  const told = typeof code === 'string' ? code : undefined
  return {
    name: String(name),
    message: told?.startsWith('HPE_') ? told : String(message),
    code: told,
    bytesRead: socket?.bytesRead ?? 0,
  }
}
