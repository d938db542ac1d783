import { execFile } from 'node:child_process'

export interface Ended {
  readonly out: string
  readonly seconds: number
  /** CPU seconds of the shell and all it ran. */
  readonly cpu: number
}

/**
 * Runs a script with `$1`, `$2`… and tells what it cost: sh adds up the times of its children, and Node does not. When
 * `until` is aborted, the script gets a SIGTERM, which it has to expect.
 */
export function shell(script: string, args: readonly string[] = [], until?: AbortSignal): Promise<Ended> {
  const startedAt = performance.now()
  return new Promise((resolve, reject) => {
    const command = ['-c', `${script}\ns=$?; times >&2; exit $s`, 'sh', ...args]
    const child = execFile('sh', command, { maxBuffer: 64 * 1024 * 1024 }, (error, out, err) => {
      const seconds = (performance.now() - startedAt) / 1000
      if (error) reject(new Error(`${args.slice(0, 3).join(' ')}…: ${err.trim() || error.message}\n${out.slice(-500)}`))
      else resolve({ out, seconds, cpu: cpuOf(err) })
    })
    until?.addEventListener('abort', () => child.kill('SIGTERM'), { once: true })
  })
}

/** Of the last four: `0m0.01s 0m0.02s`, the shell's own in user and system mode, and below it its children's. */
function cpuOf(text: string): number {
  const times = [...text.matchAll(/(\d+)m([\d.]+)s/g)].slice(-4)
  return times.reduce((total, [, minutes, seconds]) => total + Number(minutes) * 60 + Number(seconds), 0)
}
