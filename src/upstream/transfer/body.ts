import { write } from 'node:fs'
import { promisify } from 'node:util'
import type { Dispatcher } from 'undici'
import { UpstreamError } from '../../oci/error.ts'
import type { BodyFile } from '../upstream.ts'
import { releaseChunk } from './chunk.ts'
import { type BodyPart, BodyTooLong, type ResponseBody } from './response-body.ts'

const writeFile = promisify(write)

/** What is read of a body nobody wants, in bytes, so that its connection can be used again. */
const worthDiscarding = 16 * 1024

/** The body of a response that the event loop receives: a stream of undici, which pauses its connection by itself. */
export class Body implements ResponseBody {
  readonly #source: Dispatcher.ResponseData['body']
  readonly #failureOf: (error: unknown) => unknown

  /** `failureOf` makes of undici's error what the reader gets. */
  constructor(source: Dispatcher.ResponseData['body'], failureOf: (error: unknown) => unknown) {
    this.#source = source
    this.#failureOf = failureOf
    // Without a listener the failure of a body that nobody reads would end the process.
    source.on('error', () => undefined)
  }

  /** The wanted bytes, in chunks that are valid until the next is asked for. Rejects with BodyTooLong, or why it failed. */
  async *chunks({ skip, most = Number.POSITIVE_INFINITY, tail = 'none' }: BodyPart): AsyncGenerator<Buffer, undefined> {
    let toSkip = skip
    let left = most
    try {
      for await (const chunk of this.#source as AsyncIterable<Buffer>) {
        const rest = chunk.subarray(toSkip)
        toSkip -= chunk.length - rest.length
        if (rest.length > left && tail === 'none') throw new BodyTooLong()
        const wanted = rest.subarray(0, left)
        left -= wanted.length
        if (wanted.length > 0) yield wanted
        releaseChunk(chunk)
        if (left === 0 && tail === 'unwanted') return
      }
    } catch (error) {
      throw error instanceof BodyTooLong ? error : this.#failureOf(error)
    }
  }

  async *into(file: BodyFile, part: BodyPart): AsyncGenerator<number, undefined> {
    let position = file.offset
    for await (const chunk of this.chunks(part)) {
      for (let rest = chunk; rest.length > 0; ) {
        const bytes = await writeSome(file, rest, position)
        rest = rest.subarray(bytes)
        position += bytes
        if (bytes > 0) yield bytes
      }
    }
  }

  close(): void {
    this.#source.destroy()
  }

  discard(): void {
    void this.#source.dump({ limit: worthDiscarding })
  }
}

/** Returns how many bytes were written: 0 where the system refused, and there is room again. */
async function writeSome(file: BodyFile, bytes: Buffer, position: number): Promise<number> {
  try {
    return (await writeFile(file.descriptor, bytes, 0, bytes.length, position)).bytesWritten
  } catch (error) {
    await file.refused(error)
    return 0
  }
}

/** A body that has to fit into memory: `limit` in bytes, of what is sent. */
export async function readWhole(
  body: Body,
  contentLength: number | undefined,
  limit: number,
  { upstream, asked }: { readonly upstream: string; readonly asked: string },
): Promise<Buffer> {
  const read: Buffer[] = []
  try {
    if (contentLength !== undefined && contentLength > limit) throw new BodyTooLong()
    for await (const chunk of body.chunks({ skip: 0, most: limit })) read.push(Buffer.from(chunk))
  } catch (error) {
    body.close()
    if (!(error instanceof BodyTooLong)) throw error
    throw new UpstreamError(upstream, 'protocol', `${asked}: answer longer than ${limit} bytes`)
  }
  const bytes = Buffer.concat(read)
  if (contentLength !== undefined && bytes.length !== contentLength) {
    const what = `${asked}: answer broke off after ${bytes.length} of ${contentLength} bytes`
    throw new UpstreamError(upstream, 'unreachable', what)
  }
  return bytes
}
