import { createHash, type Hash } from 'node:crypto'
import { readSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { parentPort } from 'node:worker_threads'
import type { HashAnswer, HashRequest } from './hash-pool.ts'

/** The other side of `HashPool`: a thread that may wait for the disk. */

interface Job {
  readonly file: number
  readonly hash: Hash
  /** Bytes hashed. */
  at: number
  /** Why the file cannot be read. */
  error: string | undefined
}

const jobs = new Map<number, Job>()
const buffer = Buffer.allocUnsafeSlow(256 * 1024)

function take(request: HashRequest): HashAnswer | undefined {
  const { id, kind } = request
  if (kind === 'open') {
    jobs.set(request.job, { file: request.file, hash: createHash(request.algorithm), at: 0, error: undefined })
    return undefined
  }
  const job = jobs.get(request.job)
  if (kind === 'close' || !job) {
    jobs.delete(request.job)
    return { id }
  }
  advance(job, request.end)
  if (kind === 'advance') return undefined
  return job.error === undefined ? { id, digest: job.hash.copy().digest('hex') } : { id, error: job.error }
}

function advance(job: Job, end: number): void {
  try {
    while (job.at < end) {
      const bytes = readSync(job.file, buffer, 0, Math.min(buffer.length, end - job.at), job.at)
      if (bytes === 0) throw new Error(`the file ended at ${job.at}, before ${end}`)
      job.hash.update(buffer.subarray(0, bytes))
      job.at += bytes
    }
  } catch (error) {
    job.error = error instanceof Error ? error.message : String(error)
  }
}

if (parentPort) {
  const port = parentPort
  port.on('message', (request: HashRequest) => {
    const answer = take(request)
    if (answer) port.postMessage(answer)
  })
  port.postMessage({ id: 0 })
  flushCompileCache()
}
