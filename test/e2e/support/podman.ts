import type { Architecture, Client, ClientKind, Held } from './client.ts'
import { clientFile } from './client-files.ts'
import { run } from './run.ts'
import { Workspace } from './workspace.ts'

export const podman: ClientKind = { name: 'podman', create: (mirror) => Podman.create(mirror) }

/** Its defaults are more than a sandboxed root may ask for. */
const modest = ['--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024']

/** Debian's podman (4.3): no daemon, and the library that CRI-O pulls with. */
export class Podman implements Client {
  readonly #workspace: Workspace
  readonly #registries: string

  private constructor(workspace: Workspace, registries: string) {
    this.#workspace = workspace
    this.#registries = registries
  }

  static async create(mirror: string): Promise<Podman> {
    const workspace = await Workspace.create()
    return new Podman(workspace, await clientFile('podman/registries.conf', workspace.path, mirror))
  }

  async pull(image: string, architecture: Architecture = 'amd64'): Promise<void> {
    await this.#podman('pull', '--arch', architecture, image)
  }

  async held(image: string): Promise<Held> {
    const [held] = JSON.parse(await this.#podman('image', 'inspect', image)) as [
      { Id: string; RepoDigests: string[]; RootFS: { Layers: string[] } },
    ]
    const digests = held.RepoDigests.map((name) => name.split('@')[1] ?? '')
    return { digests, id: `sha256:${held.Id}`, diffIds: held.RootFS.Layers }
  }

  run(image: string): Promise<string> {
    return this.#podman('run', '--rm', '--network=none', ...modest, image)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#workspace[Symbol.asyncDispose]()
  }

  #podman(...args: string[]): Promise<string> {
    const workspace = this.#workspace
    const folders = ['--root', workspace.in('root'), '--runroot', workspace.in('run'), '--tmpdir', workspace.in('tmp')]
    const ways = ['--storage-driver=overlay', '--cgroup-manager=cgroupfs', '--events-backend=none', '--runtime=runc']
    const env = { CONTAINERS_REGISTRIES_CONF: this.#registries, XDG_RUNTIME_DIR: workspace.in('run') }
    return run('podman', [...folders, ...ways, ...args], { home: workspace.path, env })
  }
}
