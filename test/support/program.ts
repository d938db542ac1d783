import { type ChildProcess, spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('../../src/entrepot.cjs', import.meta.url))

export interface Ended {
  /** Null where a signal ended it. */
  readonly status: number | null
  readonly out: string
  readonly err: string
}

export interface RunningProgram extends AsyncDisposable {
  readonly child: ChildProcess
  /** The first of its printed texts that matches; rejects where it ends without one. */
  printed(pattern: RegExp): Promise<string>
  readonly ended: Promise<Ended>
}

/**
 * Starts the command `entrepot` as a process of its own, with nothing of our environment but what is given; `program` is
 * its main file, where it is not the one in `src`.
 */
export function start(
  args: readonly string[],
  environment: Record<string, string> = {},
  program = source,
): RunningProgram {
  const env = { PATH: process.env['PATH'], ...environment }
  const child = spawn(process.execPath, [program, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk
  })
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve))
  const ended = Promise.all([closed, text(child.stderr)]).then(([status, err]) => ({ status, out, err }))
  return {
    child,
    async printed(pattern) {
      const { promise, resolve, reject } = Promise.withResolvers<string>()
      const look = () => {
        const found = pattern.exec(out)?.[0]
        if (found !== undefined) resolve(found)
      }
      child.stdout.on('data', look)
      look()
      void ended.then((end) => reject(new Error(`ended without printing ${pattern}: ${JSON.stringify(end)}`)))
      return promise
    },
    ended,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Runs the command to its end. */
export function entrepot(args: readonly string[], environment: Record<string, string> = {}): Promise<Ended> {
  return start(args, environment).ended
}
