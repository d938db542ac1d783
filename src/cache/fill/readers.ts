import type { Digest } from '../../oci/digest.ts'
import type { OpenBlob } from '../../storage/blob-store.ts'
import type { BodyReader } from '../../storage/body-reader.ts'

/** Which stored blobs are read, or are about to be, and by how many. */
export class Readers {
  readonly #counts = new Map<Digest, number>()

  has(digest: Digest): boolean {
    return this.#counts.has(digest)
  }

  /** One more, from before the blob is opened until what is returned is called. */
  enter(digest: Digest): () => void {
    this.#counts.set(digest, (this.#counts.get(digest) ?? 0) + 1)
    let here = true
    return () => {
      if (here) this.#leave(digest)
      here = false
    }
  }

  #leave(digest: Digest): void {
    const left = (this.#counts.get(digest) ?? 0) - 1
    if (left > 0) this.#counts.set(digest, left)
    else this.#counts.delete(digest)
  }
}

/** The same blob; calls `leave` when it, or the reader made of it, has been closed. */
export function watched(blob: OpenBlob, leave: () => void): OpenBlob {
  return {
    size: blob.size,
    reader: (range) => watchedReader(blob.reader(range), leave),
    close: () => blob.close().finally(leave),
  }
}

function watchedReader(reader: BodyReader, leave: () => void): BodyReader {
  return {
    read: () => reader.read(),
    transfer: (socket, most) => reader.transfer(socket, most),
    cork: (socket) => reader.cork(socket),
    close: () => reader.close().finally(leave),
  }
}
