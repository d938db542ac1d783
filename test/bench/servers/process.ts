import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Command {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What it prints goes there: a file, as it would in service, and no pipe that we would have to empty. */
  readonly log: string
}

const patience = 20_000

/** A server in a process of its own, which ends with us. */
export class Process implements AsyncDisposable {
  readonly name: string
  readonly log: string
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>

  private constructor(child: ChildProcess, { name, log }: Command) {
    this.name = name
    this.log = log
    this.#child = child
    this.#ended = once(child, 'exit')
  }

  /** Resolves when `url` answers 200. */
  static async start(command: Command, url: string): Promise<Process> {
    const { program, args, env = {}, log } = command
    const fd = openSync(log, 'a')
    const child = spawn(program, args, { env: { PATH: process.env['PATH'], ...env }, stdio: ['ignore', fd, fd] })
    closeSync(fd)
    await once(child, 'spawn')
    const server = new Process(child, command)
    try {
      await server.#ready(url)
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
    return server
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** SIGTERM; and SIGKILL, where that is not enough. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGTERM')
    const late = setTimeout(() => this.#child.kill('SIGKILL'), 10_000)
    await this.#ended
    clearTimeout(late)
  }

  async #ready(url: string): Promise<void> {
    const deadline = performance.now() + patience
    while (this.#child.exitCode === null && this.#child.signalCode === null && performance.now() < deadline) {
      if (await answers(url)) return
      await sleep(20)
    }
    const said = await readFile(this.log, 'utf8')
    throw new Error(`${this.name} did not start:\n${said.slice(-2000)}`)
  }
}

/** A port of the loopback that is free at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const closed = once(server, 'close')
  server.close()
  await closed
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  return address.port
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(1000) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    return false
  }
}
