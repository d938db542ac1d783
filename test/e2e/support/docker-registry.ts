import { writeFile } from 'node:fs/promises'
import { Daemon } from './daemon.ts'
import { freePort } from './port.ts'
import { Workspace } from './workspace.ts'

export interface RegistryRequest {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly bytes: number
  readonly userAgent: string
}

export interface Login {
  readonly username: string
  readonly password: string
  /** bcrypt, the only kind that docker-registry reads. */
  readonly hash: string
}

export const testLogin: Login = {
  username: 'mirror',
  password: 'only-for-this-test',
  hash: '$2y$04$entrepotentrepotentreudQUrEw8R/u/VmqIQo1o8KhL4d02zv92',
}

export interface DockerRegistryOptions {
  /** Demanded for everything. */
  readonly login?: Login
  /** Loopback unless given. */
  readonly address?: string
}

/** Debian's docker-registry (distribution 2.8.2) on a port of its own, which it keeps when it is started again. */
export class DockerRegistry implements AsyncDisposable {
  readonly port: number
  readonly login: Login | undefined
  readonly #workspace: Workspace
  #daemon: Daemon | undefined
  #earlier = ''

  private constructor(port: number, workspace: Workspace, login: Login | undefined) {
    this.port = port
    this.login = login
    this.#workspace = workspace
  }

  static async start({ login, address = '127.0.0.1' }: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    await using stack = new AsyncDisposableStack()
    const workspace = stack.use(await Workspace.create())
    const registry = stack.use(new DockerRegistry(await freePort(), workspace, login))
    if (login) await writeFile(workspace.in('htpasswd'), `${login.username}:${login.hash}\n`)
    const auth = login && { htpasswd: { realm: 'entrepot-e2e', path: workspace.in('htpasswd') } }
    const document = {
      version: '0.1',
      log: { level: 'warn' },
      storage: { filesystem: { rootdirectory: workspace.in('data') } },
      http: { addr: `${address}:${registry.port}` },
      ...(auth && { auth }),
    }
    await writeFile(workspace.in('registry.yml'), JSON.stringify(document))
    await registry.start()
    stack.move()
    return registry
  }

  get host(): string {
    return `127.0.0.1:${this.port}`
  }

  get url(): string {
    return `http://${this.host}`
  }

  /** What has been asked of it. */
  get requests(): RegistryRequest[] {
    const lines = `${this.#earlier}${this.#daemon?.output ?? ''}`.split('\n').map((line) => accessLine.exec(line))
    return lines
      .filter((match) => match !== null)
      .map(([, method = '', path = '', status, bytes, userAgent = '']) => ({
        method,
        path,
        status: Number(status),
        bytes: Number(bytes),
        userAgent,
      }))
  }

  /** Requests that moved a blob or a manifest, or a part of one. */
  get downloads(): RegistryRequest[] {
    return this.requests.filter(
      ({ method, path, status }) => method === 'GET' && /\/(?:blobs|manifests)\//.test(path) && status < 300,
    )
  }

  async start(): Promise<void> {
    this.#daemon = await Daemon.start({
      program: 'docker-registry',
      args: ['serve', this.#workspace.in('registry.yml')],
      home: this.#workspace.path,
      ready: () => answers(this.url),
    })
  }

  async stop(): Promise<void> {
    const daemon = this.#daemon
    this.#daemon = undefined
    await daemon?.end('SIGKILL')
    this.#earlier += daemon?.output ?? ''
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await this.#workspace[Symbol.asyncDispose]()
  }
}

/** The combined log format: `127.0.0.1 - - [date] "GET /v2/ HTTP/1.1" 200 2 "" "curl/7.88.1"`. */
const accessLine = /^\S+ - \S+ \[[^\]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+) "[^"]*" "([^"]*)"$/

async function answers(url: string): Promise<boolean> {
  return fetch(`${url}/v2/`).then(
    async (response) => {
      await response.body?.cancel()
      return true
    },
    () => false,
  )
}
