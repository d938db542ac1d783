import { spawn } from 'node:child_process'
import { delimiter } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import { searchPath } from './programs.ts'

export interface RunOptions {
  /** A folder of the caller's own: the program's home, where it finds no one's logins and settings. */
  readonly home: string
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Seconds after which it is killed. */
  readonly limit?: number
}

/** Nothing of our own environment but where programs are. */
export function environment(home: string, extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { PATH: searchPath.join(delimiter), HOME: home, TMPDIR: home, LANG: 'C.UTF-8', ...extra }
}

/** Runs a program to its end, and returns what it printed. Throws with its complaint, unless it ended well. */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  return (await runForBytes(program, args, options)).toString()
}

export async function runForBytes(
  program: string,
  args: readonly string[],
  { home, env, cwd, limit = 120 }: RunOptions,
): Promise<Buffer> {
  const child = spawn(program, args, {
    env: environment(home, env),
    cwd: cwd ?? home,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: limit * 1000,
    killSignal: 'SIGKILL',
  })
  const ended = new Promise<string | undefined>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code === 0 ? undefined : `ended with ${signal ?? code}`))
  })
  const [failure, out, err] = await Promise.all([ended, buffer(child.stdout), text(child.stderr)])
  if (failure === undefined) return out
  const said = `${out.subarray(0, 2000).toString()}\n${err.slice(-4000)}`.trim()
  throw new Error(`${[program, ...args].join(' ')} ${failure}:\n${said}`)
}
