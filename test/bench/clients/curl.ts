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

interface Options {
  /** How often each client downloads it, over one connection. */
  readonly times?: number
  /** A file with the only certificate that the server may show. */
  readonly trusted?: string | undefined
  /** Called when all clients are ready and begin. */
  readonly onBegin?: () => void
}

export interface CurlOptions extends Options {
  /** Processes that run at once. */
  readonly clients: number
}

export interface CurlLoad extends Load {
  /** Seconds that the slowest download took by curl's own clock. */
  readonly slowest: number
  readonly perSecond: number
}

/**
 * Each client is a process of its own that reads as fast as it can and throws away what it reads. They begin together, when
 * all are ready: each reads what to download from a pipe, into which it is written at that moment.
 */
const script = `n=$1; pipes=$2; shift 2
i=0
while [ $i -lt $n ]; do mkfifo "$pipes/$i"; "$@" -K "$pipes/$i" & i=$((i+1)); done
wait`

/** Milliseconds. */
const patience = 20_000
const interval = 2

/** Many clients, one download. */
export function curl(download: Download, { clients, ...options }: CurlOptions): Promise<CurlLoad> {
  return curlEach(new Array<Download>(clients).fill(download), options)
}

/** A client for each of the downloads. Its seconds are those from the moment when all clients are ready. */
export async function curlEach(
  downloads: readonly Download[],
  { times = 1, trusted, onBegin }: Options = {},
): Promise<CurlLoad> {
  const program = find('curl') ?? 'curl'
  const format = '%{http_code} %{size_download} %{time_total} %{url_effective}\\n'
  const trust = trusted === undefined ? [] : ['--cacert', trusted]
  const pipes = await mkdtemp(join(tmpdir(), 'entrepot-bench-curl-'))
  try {
    const ended = shell(script, [String(downloads.length), pipes, program, '-sS', ...trust, '-w', format])
    const failed = ended.then(() => Promise.reject(new Error('curl ended before it began')))
    const tasks = downloads.map(({ url }) => `url = "${url}"\noutput = "/dev/null"\n`.repeat(times))
    const startedAt = await Promise.race([release(pipes, tasks), failed])
    onBegin?.()
    const { out, cpu } = await ended
    const seconds = (performance.now() - startedAt) / 1000
    const totals = totalsOf(out, downloads)
    const wanted = downloads.length * times
    if (totals.length !== wanted) {
      throw new Error(`${totals.length} of ${wanted} downloads were whole\n${out.slice(0, 500)}`)
    }
    const bytes = downloads.reduce((total, { size }) => total + size, 0) * times
    return { seconds, cpu, bytes, slowest: Math.max(...totals), perSecond: bytes / seconds }
  } finally {
    await rm(pipes, { recursive: true })
  }
}

/** Seconds of those downloads that were whole. */
function totalsOf(out: string, downloads: readonly Download[]): number[] {
  const sizes = new Map(downloads.map(({ url, size }) => [url, size]))
  const lines = out.trim().split('\n')
  const whole = lines
    .map((line) => line.split(' '))
    .filter(([status, bytes, , url = '']) => status === '200' && Number(bytes) === sizes.get(url))
  return whole.map(([, , total]) => Number(total))
}

/** Waits until all clients wait, and tells each its task. Resolves to when that was. */
async function release(pipes: string, tasks: readonly string[]): Promise<number> {
  const ends: FileHandle[] = []
  try {
    for (const client of tasks.keys()) ends.push(await endOf(join(pipes, String(client))))
    const startedAt = performance.now()
    await Promise.all(ends.map((end, client) => end.write(tasks[client] ?? '')))
    return startedAt
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
