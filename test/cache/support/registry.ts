import { writeSync } from 'node:fs'
import { type Origin, originOf } from '../../../src/cache/origin.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import { UpstreamError } from '../../../src/oci/error.ts'
import type { BlobRest, BlobSource, BlobSpan, BlobToFile, BodyFile, Upstream } from '../../../src/upstream/upstream.ts'
import type { Gate } from '../../support/gate.ts'

/** What a body is made of: bytes, a gate to wait at, or the error that ends it. */
export type Step = Buffer | Gate | Error

/** A registry without HTTP: every blob it is asked for is the same list of steps. */
export class FakeRegistry implements Upstream {
  readonly name = 'fake.test'
  readonly servesPrivate = false
  readonly restsUntil = undefined
  readonly asked: { readonly span: BlobSpan; readonly signal: AbortSignal }[] = []
  /** Bodies that were closed or have ended. */
  released = 0
  /** Bodies that were let go of, read or not. */
  closed = 0
  readonly #steps: readonly Step[]
  readonly #size: number | undefined

  constructor(steps: readonly Step[], size: number | undefined) {
    this.#steps = steps
    this.#size = size
  }

  get origin(): Origin {
    return originOf(this, 'some/app')
  }

  overdue(): void {}

  async blob(_name: string, _digest: Digest, span: BlobSpan, signal: AbortSignal): Promise<BlobSource> {
    this.#checkSize(span)
    return { size: this.#size, visibility: 'public', body: this.#open(span, signal) }
  }

  async download(_name: string, _digest: Digest, rest: BlobRest, signal: AbortSignal): Promise<BlobToFile> {
    this.#checkSize(rest)
    const body = this.#open({ start: rest.start, end: undefined }, signal)
    const close = (): void => void body.return(undefined)
    return { size: this.#size, visibility: 'public', into: (file) => writeAll(body, file), close }
  }

  #checkSize({ size }: { readonly size?: number | undefined }): void {
    if (size === undefined || this.#size === undefined || size === this.#size) return
    throw new UpstreamError(this.name, 'protocol', `${this.#size} bytes of a blob of ${size}`)
  }

  #open(span: BlobSpan, signal: AbortSignal): AsyncGenerator<Buffer> {
    signal.throwIfAborted()
    this.asked.push({ span, signal })
    const body = this.#body(signal)
    const close = body.return.bind(body)
    body.return = (value) => {
      this.closed += 1
      return close(value)
    }
    return body
  }

  async *#body(signal: AbortSignal): AsyncGenerator<Buffer> {
    const aborted = Promise.withResolvers<never>()
    aborted.promise.catch(() => undefined)
    signal.addEventListener('abort', () => aborted.reject(signal.reason))
    try {
      for (const step of this.#steps) {
        signal.throwIfAborted()
        if (Buffer.isBuffer(step)) yield step
        else if (step instanceof Error) throw step
        else await Promise.race([step.pass(), aborted.promise])
      }
    } finally {
      this.released += 1
    }
  }

  async statBlob() {
    return { size: this.#size, visibility: 'public' as const }
  }

  async resolve() {
    return undefined
  }

  async manifest() {
    return undefined
  }

  status() {
    return { name: this.name, state: 'ok' as const, requests: 0, errors: 0, rateLimit: null, notice: null }
  }
}

async function* writeAll(
  body: AsyncIterable<Buffer>,
  { descriptor, offset }: BodyFile,
): AsyncGenerator<number, undefined> {
  let at = offset
  for await (const chunk of body) {
    at += writeSync(descriptor, chunk, 0, chunk.length, at)
    yield chunk.length
  }
}
