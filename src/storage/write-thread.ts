import { createHash, type Hash } from 'node:crypto'
import { readSync, writeSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { parentPort } from 'node:worker_threads'
import type { WriteAnswer, WriteRequest } from './writing.ts'

/** The other side of `Writing`: a thread that may wait for the disk. */

class WrittenFile {
  readonly #descriptor: number
  readonly #hash: Hash
  #size = 0

  constructor(descriptor: number, algorithm: string, size: number) {
    this.#descriptor = descriptor
    this.#hash = createHash(algorithm)
    if (size > 0) this.#readBack(size)
  }

  /** Bytes written, at least one. Throws the system's error. */
  append(bytes: Uint8Array): number {
    const written = writeSync(this.#descriptor, bytes, 0, bytes.length, this.#size)
    this.#hash.update(bytes.subarray(0, written))
    this.#size += written
    return written
  }

  digest(): string {
    return this.#hash.copy().digest('hex')
  }

  #readBack(size: number): void {
    const buffer = Buffer.allocUnsafeSlow(256 * 1024)
    while (this.#size < size) {
      const bytes = readSync(this.#descriptor, buffer, 0, Math.min(buffer.length, size - this.#size), this.#size)
      if (bytes === 0) throw new Error(`the file ended at ${this.#size}, before ${size}`)
      this.#hash.update(buffer.subarray(0, bytes))
      this.#size += bytes
    }
  }
}

const files = new Map<number, WrittenFile>()

function answer(request: WriteRequest): WriteAnswer | undefined {
  const { kind, id } = request
  if (kind === 'open') {
    files.set(request.file, new WrittenFile(request.file, request.algorithm, request.size))
    return undefined
  }
  if (kind === 'close') {
    files.delete(request.file)
    return undefined
  }
  const file = files.get(request.file)
  if (!file) throw new Error('the file could not be read')
  return kind === 'append' ? { id, written: file.append(request.bytes) } : { id, digest: file.digest() }
}

parentPort?.on('message', (request: WriteRequest) => {
  try {
    const said = answer(request)
    if (said) parentPort?.postMessage(said)
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    // That a file cannot be read back is told to whoever appends to it.
    if (request.kind !== 'open') parentPort?.postMessage({ id: request.id, error: { message, code } })
  }
})
parentPort?.postMessage({ id: 0 })
flushCompileCache()
