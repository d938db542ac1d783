import { type ChildProcess, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { environment } from './run.ts'

export interface DaemonOptions {
  readonly program: string
  readonly args: readonly string[]
  readonly home: string
  readonly env?: Readonly<Record<string, string>>
  /** Asked again and again, until it says yes. */
  readonly ready: (output: string) => boolean | Promise<boolean>
}

/**
 * A program that runs until it is told to end. It is one process of ours, by its id, whatever else runs here; the kernel
 * ends it when this process dies without having done so.
 */
export class Daemon implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #closed: Promise<void>
  #output = ''
  #ended = false

  private constructor({ program, args, home, env }: DaemonOptions) {
    const child = spawn('setpriv', ['--pdeathsig', 'TERM', '--', program, ...args], {
      env: environment(home, env),
      cwd: home,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text
      })
    }
    const drained = new Promise((resolve) => child.once('close', resolve))
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', ({ message }) => {
        this.#output += `${message}\n`
        resolve()
      })
    })
    this.#closed = exited.then(async () => {
      this.#ended = true
      // Its last words; but a child of its own may hold on to the pipe.
      await Promise.race([drained, sleep(1000, undefined, { ref: false })])
    })
  }

  /** Resolves when it is ready; throws with what it said when it ended instead, or took a minute. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const daemon = new Daemon(options)
    try {
      await eventually(async () => {
        if (daemon.#ended) throw new Error(`${options.program} has ended:\n${daemon.#output.slice(-4000)}`)
        return options.ready(daemon.#output)
      }, `${options.program} to be ready`)
      return daemon
    } catch (error) {
      await daemon[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Of the process. */
  get id(): number {
    return this.#child.pid ?? 0
  }

  get ended(): boolean {
    return this.#ended
  }

  /** What it has printed so far. */
  get output(): string {
    return this.#output
  }

  /** Asked first, and killed when it takes longer than 20 seconds. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#ended) return
    this.#child.kill(signal)
    const patience = new AbortController()
    const killed = sleep(20_000, undefined, { signal: patience.signal, ref: false }).then(
      () => this.#child.kill('SIGKILL'),
      () => undefined,
    )
    await this.#closed
    patience.abort()
    await killed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end()
  }
}

/** Waits for what will come but tells no one: about a minute, then an error that says what was waited for. */
export async function eventually(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt += 1) {
    if (await condition()) return
    await sleep(50)
  }
  throw new Error(`waited in vain for ${what}`)
}
