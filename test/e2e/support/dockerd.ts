import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Architecture, Client, ClientKind, Held } from './client.ts'
import { clientFile } from './client-files.ts'
import { Containerd } from './containerd.ts'
import { Daemon } from './daemon.ts'
import { run } from './run.ts'
import { Workspace } from './workspace.ts'

export const dockerd: ClientKind = { name: 'dockerd', create: (mirror) => Dockerd.create(mirror) }

/** Debian's Docker Engine (20.10), which leaves the machine's network as it is. */
export class Dockerd implements Client {
  readonly #workspace: Workspace
  readonly #containerd: Containerd
  readonly #daemon: Daemon
  readonly #mirror: string

  private constructor(workspace: Workspace, containerd: Containerd, daemon: Daemon, mirror: string) {
    this.#workspace = workspace
    this.#containerd = containerd
    this.#daemon = daemon
    this.#mirror = mirror
  }

  static async create(mirror: string): Promise<Dockerd> {
    await using stack = new AsyncDisposableStack()
    const containerd = stack.use(await Containerd.create(mirror))
    const workspace = stack.use(await Workspace.create())
    const host = `unix://${workspace.in('d.sock')}`
    const daemon = await Daemon.start({
      program: 'dockerd',
      args: [
        ...['--config-file', await clientFile('docker/daemon.json', workspace.path, mirror)],
        ...['--host', host, '--containerd', containerd.socket, '--pidfile', workspace.in('pid')],
        ...['--data-root', workspace.in('data'), '--exec-root', workspace.in('exec')],
        ...['--bridge=none', '--iptables=false', '--ip6tables=false', '--ip-forward=false', '--ip-masq=false'],
      ],
      home: workspace.path,
      ready: (output) => output.includes('API listen on'),
    })
    stack.move()
    return new Dockerd(workspace, containerd, daemon, mirror)
  }

  get socket(): string {
    return this.#workspace.in('d.sock')
  }

  async pull(image: string, architecture: Architecture = 'amd64'): Promise<void> {
    await this.docker('pull', '--platform', `linux/${architecture}`, this.#named(image))
  }

  async held(image: string): Promise<Held> {
    const [held] = JSON.parse(await this.docker('image', 'inspect', this.#named(image))) as [
      { Id: string; RepoDigests: string[]; RootFS: { Layers: string[] } },
    ]
    const digests = held.RepoDigests.map((name) => name.split('@')[1] ?? '')
    return { digests, id: held.Id, diffIds: held.RootFS.Layers }
  }

  run(image: string): Promise<string> {
    return this.docker('run', '--rm', '--network=none', this.#named(image))
  }

  docker(...args: string[]): Promise<string> {
    return run('docker', ['--host', `unix://${this.socket}`, ...args], { home: this.#workspace.path, limit: 240 })
  }

  /** Builds an image with BuildKit, the one inside the engine, and returns its id. */
  async build(dockerfile: string): Promise<string> {
    const folder = this.#workspace.in('build')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'Dockerfile'), dockerfile)
    const args = ['--host', `unix://${this.socket}`, 'build', '--quiet', folder]
    return (await run('docker', args, { home: this.#workspace.path, env: { DOCKER_BUILDKIT: '1' } })).trim()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]()
    await this.#workspace[Symbol.asyncDispose]()
    await this.#containerd[Symbol.asyncDispose]()
  }

  /** Docker's mirrors are for Docker Hub alone. What is elsewhere, its users pull from the mirror by name. */
  #named(image: string): string {
    return image.startsWith('docker.io/') ? image : `${this.#mirror}/${image}`
  }
}
