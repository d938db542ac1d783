import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const program = fileURLToPath(new URL('slow-program.ts', import.meta.url))

export interface SlowOptions {
  readonly clients: number
  /** The slowest and the fastest client; the others in between. */
  readonly from: number
  readonly to: number
}

/** Clients that take a blob at a few bytes per second, until they are told to leave. */
export class SlowClients implements AsyncDisposable {
  readonly #child: ChildProcess
  #report = ''

  constructor(url: string, { clients, from, to }: SlowOptions) {
    const args = [program, url, String(clients), String(from), String(to)]
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#report += text
    })
  }

  /** They leave; tells how many bytes each had got, and throws where one was cut off before. */
  async leave(): Promise<readonly number[]> {
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGTERM')
    await closed
    const { received, broken } = JSON.parse(this.#report) as { received: number[]; broken: number }
    if (broken > 0) throw new Error(`${broken} slow clients were cut off`)
    return received
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'close')
  }
}
