import {
  type BodyReader,
  type Moved,
  nothingMoved,
  ReaderClosed,
  type SocketDescriptor,
} from '../../storage/body-reader.ts'
import { SpoolUnwritable } from '../../storage/spool/spool.ts'

export interface FollowedBodyOptions {
  readonly body: BodyReader
  /** Where it begins. */
  readonly start: number
  /** Opens what to go on with from an offset, where the spool cannot take more. */
  readonly detour: (offset: number, signal: AbortSignal) => Promise<BodyReader>
  readonly left: () => void
}

/** A spool's follower that goes on from upstream where the spool cannot. */
export class FollowedBody implements BodyReader {
  readonly #options: FollowedBodyOptions
  readonly #closing = new AbortController()
  #body: BodyReader
  #offset: number
  #detoured = false

  constructor(options: FollowedBodyOptions) {
    this.#options = options
    this.#body = options.body
    this.#offset = options.start
  }

  async read(): Promise<Buffer | undefined> {
    const bytes = await this.#body.read().catch((error: unknown) => this.#goOn(error))
    this.#offset += bytes?.length ?? 0
    return bytes
  }

  /** What is wrong is for `read` to see. */
  async transfer(socket: SocketDescriptor, most: number): Promise<Moved> {
    const moved = await this.#body.transfer(socket, most).catch(() => nothingMoved)
    this.#offset += moved.bytes
    return moved
  }

  cork(socket: number): (() => void) | undefined {
    return this.#body.cork(socket)
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(new ReaderClosed())
    this.#options.left()
    await this.#body.close()
  }

  async #goOn(error: unknown): Promise<Buffer | undefined> {
    const { signal } = this.#closing
    if (!(error instanceof SpoolUnwritable) || this.#detoured || signal.aborted) throw error
    this.#detoured = true
    const detour = await this.#options.detour(this.#offset, signal)
    const spooled = this.#body
    this.#body = detour
    await spooled.close()
    if (signal.aborted) await detour.close()
    return detour.read()
  }
}
