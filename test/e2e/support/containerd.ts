import { writeFile } from 'node:fs/promises'
import type { Architecture, Client, ClientKind, Held } from './client.ts'
import { clientFile } from './client-files.ts'
import { Daemon } from './daemon.ts'
import { fileDigests, parseConfig, parseManifest } from './oci-files.ts'
import { run, runForBytes } from './run.ts'
import { Workspace } from './workspace.ts'

export const containerd: ClientKind = { name: 'containerd', create: (mirror) => Containerd.create(mirror) }

/** Debian's containerd (1.6), by itself or beneath a Docker Engine. */
export class Containerd implements Client {
  readonly #workspace: Workspace
  readonly #daemon: Daemon
  readonly #hosts: string

  private constructor(workspace: Workspace, daemon: Daemon, hosts: string) {
    this.#workspace = workspace
    this.#daemon = daemon
    this.#hosts = hosts
  }

  static async create(mirror: string): Promise<Containerd> {
    await using stack = new AsyncDisposableStack()
    const workspace = stack.use(await Workspace.create())
    const hosts = await clientFile('containerd/certs.d', workspace.path, mirror)
    const address = workspace.in('c.sock')
    const document = `
      version = 2
      root = "${workspace.in('root')}"
      state = "${workspace.in('state')}"
      disabled_plugins = ["io.containerd.grpc.v1.cri"]
      [grpc]
        address = "${address}"
      [plugins."io.containerd.internal.v1.opt"]
        path = "${workspace.in('opt')}"
    `
    await writeFile(workspace.in('containerd.toml'), document)
    const daemon = await Daemon.start({
      program: 'containerd',
      args: ['--config', workspace.in('containerd.toml')],
      home: workspace.path,
      ready: () => succeeds(run('ctr', ['--address', address, 'version'], { home: workspace.path, limit: 10 })),
    })
    stack.move()
    return new Containerd(workspace, daemon, hosts)
  }

  get socket(): string {
    return this.#workspace.in('c.sock')
  }

  async pull(image: string, architecture: Architecture = 'amd64'): Promise<void> {
    const flags = ['--snapshotter', 'native', '--hosts-dir', this.#hosts, '--platform', `linux/${architecture}`]
    await this.#ctr('images', 'pull', ...flags, image)
  }

  async held(image: string, architecture: Architecture = 'amd64'): Promise<Held> {
    const [, , digest = ''] = (await this.#ctr('images', 'list', `name==${image}`)).split('\n')[1]?.split(/\s+/) ?? []
    const root = parseManifest(await this.#content(digest))
    const child = root.manifests?.find(({ platform }) => platform?.architecture === architecture)?.digest
    const manifest = child === undefined ? root : parseManifest(await this.#content(child))
    const id = manifest.config?.digest ?? ''
    const diffIds = parseConfig(await this.#content(id)).rootfs.diff_ids
    return { digests: child === undefined ? [digest] : [digest, child], id, diffIds }
  }

  /** What is in its content store, by name, and what it really is. */
  blobs(): Promise<Map<string, string>> {
    return fileDigests(this.#workspace.in('root/io.containerd.content.v1.content/blobs/sha256'))
  }

  run(image: string): Promise<string> {
    return this.#ctr('run', '--rm', '--snapshotter', 'native', image, `run-${crypto.randomUUID()}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]()
    await this.#workspace[Symbol.asyncDispose]()
  }

  #ctr(...args: string[]): Promise<string> {
    return run('ctr', ['--address', this.socket, ...args], { home: this.#workspace.path })
  }

  #content(digest: string): Promise<Buffer> {
    const args = ['--address', this.socket, 'content', 'get', digest]
    return runForBytes('ctr', args, { home: this.#workspace.path })
  }
}

function succeeds(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => true,
    () => false,
  )
}
