import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Daemon } from './daemon.ts'
import { freePort } from './port.ts'
import { Workspace } from './workspace.ts'

const program = fileURLToPath(new URL('../../../src/entrepot.cjs', import.meta.url))

export interface MirrorProcessOptions {
  /** Entries of `upstreams`, by the name they are to be known under; the first is the default upstream. */
  readonly upstreams: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Laid over the configuration. */
  readonly config?: Readonly<Record<string, unknown>>
}

/** One request, as the mirror's log tells it. */
export interface LoggedRequest {
  readonly method: string
  readonly kind: 'manifest' | 'blob' | 'other'
  readonly upstream?: string
  readonly repository?: string
  readonly reference?: string
  readonly outcome?: string
  readonly status: number
  readonly bytes: number
  readonly range?: string
  readonly userAgent?: string
  readonly aborted?: boolean
}

/** The command itself, in a process of its own, on ports that it keeps when it is started again. */
export class MirrorProcess implements AsyncDisposable {
  readonly port: number
  readonly adminPort: number
  readonly #workspace: Workspace
  #daemon: Daemon | undefined
  #earlier = ''

  private constructor(port: number, adminPort: number, workspace: Workspace) {
    this.port = port
    this.adminPort = adminPort
    this.#workspace = workspace
  }

  static async start({ upstreams, config = {} }: MirrorProcessOptions): Promise<MirrorProcess> {
    await using stack = new AsyncDisposableStack()
    const workspace = stack.use(await Workspace.create())
    const mirror = stack.use(new MirrorProcess(await freePort(), await freePort(), workspace))
    const document = {
      listen: mirror.host,
      admin: { listen: `127.0.0.1:${mirror.adminPort}` },
      storage: { kind: 'file', path: mirror.dataFolder },
      defaultUpstream: Object.keys(upstreams)[0],
      upstreams,
      ...config,
    }
    // JSON is YAML.
    await writeFile(workspace.in('config.yaml'), JSON.stringify(document))
    await mirror.start()
    stack.move()
    return mirror
  }

  get host(): string {
    return `127.0.0.1:${this.port}`
  }

  get url(): string {
    return `http://${this.host}`
  }

  get dataFolder(): string {
    return this.#workspace.in('data')
  }

  get blobsFolder(): string {
    return join(this.dataFolder, 'blobs', 'sha256')
  }

  /** Lines of all its lives. */
  get log(): Record<string, unknown>[] {
    const lines = `${this.#earlier}${this.#daemon?.output ?? ''}`.split('\n').slice(0, -1)
    return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line))
  }

  get requests(): LoggedRequest[] {
    return this.log.filter(({ msg }) => msg === 'request') as unknown as LoggedRequest[]
  }

  async start(): Promise<void> {
    this.#daemon = await Daemon.start({
      program: process.execPath,
      args: [program, 'serve', '--config', this.#workspace.in('config.yaml')],
      home: this.#workspace.path,
      ready: (output) => output.includes('"msg":"listening"'),
    })
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async ask<T>(path: string): Promise<T> {
    return (await (await fetch(`http://127.0.0.1:${this.adminPort}${path}`)).json()) as T
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.#workspace[Symbol.asyncDispose]()
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const daemon = this.#daemon
    this.#daemon = undefined
    await daemon?.end(signal)
    // A line that the kill cut short is none.
    this.#earlier += `${daemon?.output.replace(/[^\n]*$/, '') ?? ''}`
  }
}
