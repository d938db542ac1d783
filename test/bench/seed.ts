import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { ociManifest, octetStream } from '../../src/oci/media-type.ts'
import { pathOf } from '../../src/storage/layout.ts'
import { repository } from './servers/server.ts'

/** Blobs that one manifest names. */
const perManifest = 50
const size = 1024

/**
 * Fills a mirror's data folder with small blobs, as many as asked for, and with the manifests that name them; without
 * metadata, which the mirror rebuilds when it starts.
 */
export async function seedStore(dir: string, count: number): Promise<readonly Digest[]> {
  const data = join(dir, 'data')
  const digests: Digest[] = []
  await mkdir(dirname(pathOf(data, { kind: 'blob', digest: digestOf(Buffer.alloc(0)) })), { recursive: true })
  while (digests.length < count) {
    const bodies = Array.from({ length: Math.min(perManifest, count - digests.length) }, (_, at) =>
      bodyOf(digests.length + at),
    )
    digests.push(...(await Promise.all(bodies.map((body) => put(data, body)))))
    await putManifest(data, digests.slice(-bodies.length))
  }
  return digests
}

/** 1 KiB that no other blob has. */
function bodyOf(index: number): Buffer {
  return Buffer.alloc(size, createHash('sha256').update(`blob ${index}`).digest())
}

async function put(data: string, body: Buffer): Promise<Digest> {
  const digest = digestOf(body)
  await writeFile(pathOf(data, { kind: 'blob', digest }), body, { mode: 0o444 })
  return digest
}

async function putManifest(data: string, blobs: readonly Digest[]): Promise<void> {
  const [config, ...layers] = blobs.map((digest) => ({ mediaType: octetStream, digest, size }))
  const digest = await put(
    data,
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: ociManifest, config, layers })),
  )
  const note = { mediaType: ociManifest, repositories: { [`docker.io/${repository}`]: 'public' } }
  await writeFile(pathOf(data, { kind: 'note', digest }), JSON.stringify(note))
}
