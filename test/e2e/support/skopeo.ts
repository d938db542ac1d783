import { readFile } from 'node:fs/promises'
import type { Architecture, Client, ClientKind, Held } from './client.ts'
import { clientFile } from './client-files.ts'
import { digestOfFile, fileDigests, parseConfig, parseManifest } from './oci-files.ts'
import { run } from './run.ts'
import { Workspace } from './workspace.ts'

export const skopeo: ClientKind = { name: 'skopeo', create: (mirror) => Skopeo.create(mirror) }

/** Debian's skopeo (1.9). It keeps what it pulls as it came, in plain files, and takes every platform of an image. */
export class Skopeo implements Client {
  readonly #workspace: Workspace
  readonly #registries: string

  private constructor(workspace: Workspace, registries: string) {
    this.#workspace = workspace
    this.#registries = registries
  }

  static async create(mirror: string): Promise<Skopeo> {
    const workspace = await Workspace.create()
    return new Skopeo(workspace, await clientFile('podman/registries.conf', workspace.path, mirror))
  }

  async pull(image: string): Promise<void> {
    await this.copy(`docker://${image}`, `dir:${this.#folder(image)}`, '--all')
  }

  async held(image: string, architecture: Architecture = 'amd64'): Promise<Held> {
    const file = (name: string) => readFile(`${this.#folder(image)}/${name}`)
    const root = parseManifest(await file('manifest.json'))
    const digest = await digestOfFile(`${this.#folder(image)}/manifest.json`)
    const child = root.manifests?.find(({ platform }) => platform?.architecture === architecture)?.digest
    const manifest = child === undefined ? root : parseManifest(await file(`${hexOf(child)}.manifest.json`))
    const id = manifest.config?.digest ?? ''
    const { diff_ids: diffIds } = parseConfig(await file(hexOf(id))).rootfs
    return { digests: child === undefined ? [digest] : [digest, child], id, diffIds }
  }

  /** Blobs of an image that was pulled, by name, and what they really are. */
  blobs(image: string): Promise<Map<string, string>> {
    return fileDigests(this.#folder(image))
  }

  /** Any copy, such as into an OCI layout: `oci:PATH:TAG`. */
  async copy(source: string, destination: string, ...flags: string[]): Promise<void> {
    const general = ['--insecure-policy', '--registries-conf', this.#registries]
    const args = [...general, 'copy', '--src-tls-verify=false', ...flags, source, destination]
    await run('skopeo', args, { home: this.#workspace.path })
  }

  in(...names: string[]): string {
    return this.#workspace.in(...names)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#workspace[Symbol.asyncDispose]()
  }

  #folder(image: string): string {
    return this.#workspace.in(image.replaceAll(/[/:]/g, '_'))
  }
}

function hexOf(digest: string): string {
  return digest.split(':')[1] ?? ''
}
