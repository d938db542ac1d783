import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

export interface Manifest {
  readonly manifests?: readonly { readonly digest: string; readonly platform?: { readonly architecture: string } }[]
  readonly config?: { readonly digest: string }
  readonly layers?: readonly { readonly digest: string }[]
}

export interface Config {
  readonly rootfs: { readonly diff_ids: readonly string[] }
}

export function parseManifest(bytes: Buffer): Manifest {
  return JSON.parse(bytes.toString())
}

export function parseConfig(bytes: Buffer): Config {
  return JSON.parse(bytes.toString())
}

/** The files of a folder that are named by a sha256: the digest that the name claims, and the one the content has. */
export async function fileDigests(folder: string): Promise<Map<string, string>> {
  const names = (await readdir(folder)).filter((name) => /^[0-9a-f]{64}$/.test(name)).sort()
  const digests = new Map<string, string>()
  for (const name of names) digests.set(`sha256:${name}`, await digestOfFile(join(folder, name)))
  return digests
}

export async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash)
  return `sha256:${hash.digest('hex')}`
}
