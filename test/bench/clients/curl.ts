import { constants } from 'node:fs'
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Load } from '../meter.ts'
import { find } from '../programs.ts'
import { shell } from './shell.ts'

export interface Download {
  readonly url: string
  /** Bytes that have to come. */
  readonly size: number
}

export interface CurlOptions {
  /** Processes that run at once. */
  readonly clients: number
  /** How often each downloads it, over one connection. */
  readonly times?: number
  /** A file with the only certificate that the server may show. */
  readonly trusted?: string | undefined
}

export interface CurlLoad extends Load {
  /** Seconds that the slowest download took by curl's own clock. */
  readonly slowest: number
  readonly perSecond: number
}

/**
 * Each client is a process of its own that reads as fast as it can and throws away what it reads. They begin together, when
 * all are ready: each reads a configuration, which is empty, from a pipe that ends at that moment.
 */
const script = `n=$1; pipes=$2; shift 2
i=0
while [ $i -lt $n ]; do mkfifo "$pipes/$i"; "$@" -K "$pipes/$i" & i=$((i+1)); done
wait`

/** Milliseconds. */
const patience = 20_000
const interval = 2

/** Its seconds are those from the moment when all clients are ready. */
export async function curl({ url, size }: Download, { clients, times = 1, trusted }: CurlOptions): Promise<CurlLoad> {
  const program = find('curl') ?? 'curl'
  const downloads = Array.from({ length: times }, () => ['-o', '/dev/null', url]).flat()
  const format = '%{http_code} %{size_download} %{time_total}\\n'
  const trust = trusted === undefined ? [] : ['--cacert', trusted]
  const pipes = await mkdtemp(join(tmpdir(), 'entrepot-bench-curl-'))
  try {
    const args = [String(clients), pipes, program, '-sS', ...trust, '-w', format, ...downloads]
    const ended = shell(script, args)
    const failed = ended.then(() => Promise.reject(new Error('curl ended before it began')))
    const startedAt = await Promise.race([release(pipes, clients), failed])
    const { out, cpu } = await ended
    const seconds = (performance.now() - startedAt) / 1000
    const totals = totalsOf(out, size)
    if (totals.length !== clients * times) {
      throw new Error(`${url}: ${totals.length} of ${clients * times} downloads were whole\n${out.slice(0, 500)}`)
    }
    const bytes = size * totals.length
    return { seconds, cpu, bytes, slowest: Math.max(...totals), perSecond: bytes / seconds }
  } finally {
    await rm(pipes, { recursive: true })
  }
}

/** Seconds of those downloads that were whole. */
function totalsOf(out: string, size: number): number[] {
  const lines = out.trim().split('\n')
  const whole = lines
    .map((line) => line.split(' '))
    .filter(([status, bytes]) => status === '200' && Number(bytes) === size)
  return whole.map(([, , total]) => Number(total))
}

/** Waits until all clients wait, and lets them go. Resolves to when that was. */
async function release(pipes: string, clients: number): Promise<number> {
  const ends: FileHandle[] = []
  try {
    for (let client = 0; client < clients; client += 1) ends.push(await endOf(join(pipes, String(client))))
    return performance.now()
  } finally {
    await Promise.all(ends.map((end) => end.close()))
  }
}

/** A pipe's other end, once it is being read. */
async function endOf(path: string): Promise<FileHandle> {
  const deadline = performance.now() + patience
  for (;;) {
    try {
      return await open(path, constants.O_WRONLY | constants.O_NONBLOCK)
    } catch (error) {
      if (performance.now() > deadline) throw error
    }
    await sleep(interval)
  }
}
