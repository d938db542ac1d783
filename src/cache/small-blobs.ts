import { LRUCache } from 'lru-cache'
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import type { OpenBlob } from '../storage/blob-store.ts'
import { type BodyReader, type Moved, nothingMoved } from '../storage/body-reader.ts'

/** Bytes at most. Image configs and the like: asked for by every pull, and cheaper to keep than to open. */
export const smallUpTo = 64 * 1024
const memory = 32 * 1024 * 1024

/** Small stored blobs in memory. What is here is right, and stays so when the store has let go of it. */
export class SmallBlobs {
  readonly #bodies = new LRUCache<Digest, Buffer>({ maxSize: memory, sizeCalculation: ({ length }) => length + 512 })

  get(digest: Digest): Buffer | undefined {
    return this.#bodies.get(digest)
  }

  forget(digest: Digest): void {
    this.#bodies.delete(digest)
  }

  isSmall({ size }: OpenBlob): boolean {
    return size <= smallUpTo
  }

  /** Reads a small blob whole, and closes it. Undefined, and nothing kept, where its bytes are not the digest's. */
  async load(digest: Digest, blob: OpenBlob): Promise<Buffer | undefined> {
    const body = await readAll(blob.reader({ start: 0, end: blob.size - 1 }))
    if (digestOf(body, algorithmOf(digest)) !== digest) return undefined
    this.#bodies.set(digest, body)
    return body
  }
}

/** A whole body in memory. Closes the reader. */
export async function readAll(reader: BodyReader): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for (let chunk = await reader.read(); chunk; chunk = await reader.read()) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  } finally {
    await reader.close()
  }
}

/** A body that is in memory, as something to read. */
export class MemoryBody implements BodyReader {
  #body: Buffer | undefined

  constructor(body: Buffer) {
    this.#body = body.length > 0 ? body : undefined
  }

  async read(): Promise<Buffer | undefined> {
    const body = this.#body
    this.#body = undefined
    return body
  }

  async transfer(): Promise<Moved> {
    return nothingMoved
  }

  cork(): undefined {
    return undefined
  }

  async close(): Promise<void> {
    this.#body = undefined
  }
}
