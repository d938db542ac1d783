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
  /** Seconds that the slowest download took by curl's own clock, which leaves out the start of its process. */
  readonly slowest: number
  readonly perSecond: number
}

/** Each client is a process of its own that reads as fast as it can and throws away what it reads. */
const script = `n=$1; shift
i=0
while [ $i -lt $n ]; do "$@" & i=$((i+1)); done
wait`

export async function curl({ url, size }: Download, { clients, times = 1, trusted }: CurlOptions): Promise<CurlLoad> {
  const program = find('curl') ?? 'curl'
  const downloads = Array.from({ length: times }, () => ['-o', '/dev/null', url]).flat()
  const format = '%{http_code} %{size_download} %{time_total}\\n'
  const trust = trusted === undefined ? [] : ['--cacert', trusted]
  const args = [String(clients), program, '-sS', ...trust, '-w', format, ...downloads]
  const { out, seconds, cpu } = await shell(script, args)
  const lines = out
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
  const whole = lines.filter(([status, bytes]) => status === '200' && Number(bytes) === size)
  if (whole.length !== clients * times) {
    throw new Error(`${url}: ${whole.length} of ${clients * times} downloads were whole\n${out.slice(0, 500)}`)
  }
  const bytes = size * whole.length
  const slowest = Math.max(...lines.map(([, , total]) => Number(total)))
  return { seconds, cpu, bytes, slowest, perSecond: bytes / seconds }
}
