import { createHash, type Hash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { HashAnswer, HashRequest } from './hashing.ts'

/** The other side of `Hashing`: a thread with nothing else to do, which may wait for the disk. */

const buffer = Buffer.allocUnsafeSlow(256 * 1024)
const files = new Map<number, HashedFile>()

class HashedFile {
  readonly #fd: number
  readonly #hash: Hash
  #hashed = 0

  constructor(path: string, algorithm: string) {
    this.#fd = openSync(path, 'r')
    this.#hash = createHash(algorithm)
  }

  advance(size: number): void {
    while (this.#hashed < size) {
      const bytes = readSync(this.#fd, buffer, 0, Math.min(buffer.length, size - this.#hashed), this.#hashed)
      if (bytes === 0) throw new Error(`the file ended at ${this.#hashed}, before ${size}`)
      this.#hash.update(buffer.subarray(0, bytes))
      this.#hashed += bytes
    }
  }

  digest(): string {
    return this.#hash.digest('hex')
  }

  close(): void {
    closeSync(this.#fd)
  }
}

function answer(request: HashRequest): HashAnswer | undefined {
  const { kind, id } = request
  if (kind === 'follow') {
    files.set(id, new HashedFile(request.path, request.algorithm))
    return undefined
  }
  const file = files.get(id)
  if (kind === 'abandon') {
    forget(id)
    return undefined
  }
  // Its failure has been told, or is by now.
  if (!file) return kind === 'digest' ? { id, error: 'the file could not be read' } : undefined
  file.advance(request.size)
  if (kind === 'advance') return undefined
  const digest = file.digest()
  forget(id)
  return { id, digest }
}

function forget(id: number): void {
  files.get(id)?.close()
  files.delete(id)
}

parentPort?.on('message', (request: HashRequest) => {
  try {
    const said = answer(request)
    if (said) parentPort?.postMessage(said)
  } catch (error) {
    forget(request.id)
    if (request.kind === 'digest') parentPort?.postMessage({ id: request.id, error: (error as Error).message })
  }
})
