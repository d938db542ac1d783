import type { Dispatcher } from 'undici'
import { releaseChunk } from './chunk.ts'
import type { FetchAnswer, FetchFailure, FetchRequest } from './fetch-messages.ts'
import { PieceWriter } from './piece-writer.ts'
import type { Headers } from './response.ts'
import { BodyTooLong } from './response-body.ts'

/** Written bytes after which a message goes to the event loop. Fewer are reported at the next tick. */
const worthReporting = 1024 * 1024

/** What is read of a body nobody wants, in bytes, so that its connection can be used again. */
const worthDiscarding = 16 * 1024

/** A `FetchAnswer` without its number. */
type Answer = FetchAnswer extends infer One ? (One extends FetchAnswer ? Omit<One, 'id'> : never) : never

/**
 * One request in the fetch thread: from undici into the file. `FetchedBody` is its other side, and draws its states.
 *
 * undici's handler is paused but while the body flows, so that no chunk comes while a write is refused. A body that is no
 * blob's, of a refusal or a redirect, is discarded here.
 */
export class Transfer implements Dispatcher.DispatchHandler {
  readonly #answer: (answer: Answer) => void
  #controller: Dispatcher.DispatchController | undefined
  #state: 'asked' | 'open' | 'flowing' | 'refused' | 'discarding' | 'ended' = 'asked'
  #writer: PieceWriter | undefined
  #reported = 0
  /** Whether the body has ended, and only the writing has not. */
  #isWhole = false
  #discarded = 0

  constructor(answer: (answer: Answer) => void) {
    this.#answer = answer
  }

  take(request: FetchRequest): void {
    if (request.kind === 'into' && this.#state === 'open') {
      this.#writer = new PieceWriter(request)
      this.#flow()
    } else if (request.kind === 'retry' && this.#state === 'refused') this.#retry()
    else if (request.kind === 'stop') this.#abort({ kind: 'end', reason: 'stopped' })
  }

  /** Now and then: writes what waits for a whole piece, and says how many bytes there are. */
  tick(): void {
    if (this.#state === 'flowing') this.#write((writer) => writer.flush())
    this.#report()
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#state === 'ended') controller.abort(new Error('stopped'))
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: Headers): void {
    if (status < 200 || this.#state === 'ended') return
    this.#state = status === 200 || status === 206 ? 'open' : 'discarding'
    if (this.#state === 'open') controller.pause()
    this.#answer({ kind: 'head', status, headers })
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === 'discarding') {
      this.#discarded += chunk.length
      if (this.#discarded > worthDiscarding) this.#abort({ kind: 'end', reason: 'stopped' })
      return
    }
    if (this.#state !== 'flowing' || !this.#write((writer) => writer.add(chunk))) return
    releaseChunk(chunk)
    if (this.#unreported >= worthReporting) this.#report()
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

  get #unreported(): number {
    return (this.#writer?.written ?? 0) - this.#reported
  }

  #report(): void {
    const bytes = this.#unreported
    if (bytes === 0) return
    this.#reported += bytes
    this.#answer({ kind: 'written', bytes })
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
    this.#report()
    this.#answer({ kind: 'refused', error: failureOf(error) })
  }

  #abort(end: Answer & { kind: 'end' }): void {
    this.#end(end)
    this.#controller?.abort(new Error(end.reason))
  }

  #end(end: Answer & { kind: 'end' }): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    this.#report()
    this.#answer(end)
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
  const known = typeof code === 'string' ? code : undefined
  return {
    name: String(name),
    message: known?.startsWith('HPE_') ? known : String(message),
    code: known,
    bytesRead: socket?.bytesRead ?? 0,
  }
}
