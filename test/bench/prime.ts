import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import type { Cache } from './servers/server.ts'

/** Fetches it once, and makes sure that what comes is right: a wrong answer may be fast. */
export async function prime(url: string, { digest, size }: Descriptor, accept = '*/*'): Promise<void> {
  const response = await fetch(url, { headers: { accept } })
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    hash.update(chunk)
    bytes += chunk.length
  }
  const got = `sha256:${hash.digest('hex')}`
  if (response.status !== 200 || bytes !== size || got !== digest) {
    throw new Error(`${url}: status ${response.status}, ${bytes} bytes of ${size}, ${got}`)
  }
}

const interval = 4
const patience = 60_000

/** Resolves when the cache has stored a blob. */
export async function stored(cache: Cache, { digest, size }: Descriptor): Promise<void> {
  const deadline = performance.now() + patience
  while ((await cache.storedSize(digest)) !== size) {
    if (performance.now() > deadline) throw new Error(`${cache.name} has not stored ${digest}`)
    await sleep(interval)
  }
}

/** Both: from then on it is a hit. */
export async function primeBlob(cache: Cache, blob: Descriptor): Promise<void> {
  await prime(cache.blobUrl(blob.digest), blob)
  await stored(cache, blob)
}
