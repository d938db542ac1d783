import { mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Digest } from '../../../src/oci/digest.ts'
import { eventually } from '../../e2e/support/daemon.ts'
import { image, randomBlob } from '../../support/image.ts'
import type { TestUpstream } from '../../support/upstream.ts'
import { afterDamage, given, type KnownFault } from './known-fault.ts'
import type { Mirror } from './mirror.ts'
import { within } from './within.ts'
import type { World } from './world.ts'

const repository = 'team/app'
const MB = 1_000_000

/** One stored file that is wrong or in the way, and what it stops. */
export const files: readonly KnownFault[] = [
  {
    id: 'damaged-file-is-a-hit',
    fault: 'A stored file whose bytes have changed under an unchanged size completes as a hit, each time.',
    should: 'A file is hashed behind when it is first opened; soon it is condemned and the right bytes are fetched.',
    observe: async (world) => {
      const { mirror, digest } = await oneStored(world)
      await mirror.stop()
      const bytes = await readFile(mirror.path(digest))
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0xff
      await replaceFile(mirror, digest, bytes)
      await mirror.start()
      const isRight = async () => (await mirror.blob(repository, digest)).digest === digest
      return (await within(4000, isRight)) ? 'the right bytes' : 'the wrong bytes'
    },
    today: 'the wrong bytes',
    right: 'the right bytes',
    tolerates: afterDamage,
  },
  {
    id: 'unremovable-file-stops-caching',
    fault: 'When the coldest file cannot be removed, eviction ends there, and nothing is stored any more.',
    should: 'The file is set aside and named; the next coldest goes, and caching goes on.',
    observe: async (world) => {
      const upstream = await world.upstream()
      const blobs = Array.from({ length: 6 }, (_, seed) => upstream.addBlob(repository, randomBlob(MB, seed)))
      const mirror = await world.mirror(upstream, { storage: { maxSize: '4500000B' } })
      const [coldest, ...others] = blobs
      given(coldest !== undefined, 'there is no blob')
      for (const digest of [coldest, ...others.slice(0, 3)]) await stored(mirror, digest)
      await replaceByFolder(mirror, coldest)
      for (const digest of others.slice(3)) {
        given((await mirror.blob(repository, digest)).complete, 'a blob is not served')
        await mirror.settled()
      }
      const last = others.at(-1)
      return last !== undefined && mirror.holds(last) ? 'the newest is stored' : 'the newest is not stored'
    },
    today: 'the newest is not stored',
    right: 'the newest is stored',
  },
  {
    id: 'unremovable-file-stops-purge',
    fault: 'A purge that meets a file which cannot be removed leaves what comes after it.',
    should: 'The purge removes everything else, and says what it could not.',
    observe: async (world) => {
      const layers = Array.from({ length: 20 }, (_, seed) => randomBlob(10_000, seed))
      const { mirror, added } = await imageStored(world, image({ layers }))
      const digests = [...added.layers, added.config, added.manifest].map(({ digest }) => digest)
      // As many as not, so that there are some behind the first, in whatever order it goes.
      const bad = added.layers.filter((_, n) => n % 2 === 0).map(({ digest }) => digest)
      for (const digest of bad) await replaceByFolder(mirror, digest)
      await mirror.call(`/api/repositories/registry.test/${repository}`, 'DELETE')
      const left = digests.filter((digest) => !bad.includes(digest) && mirror.holds(digest))
      return left.length === 0 ? 'everything else is gone' : 'some are left'
    },
    today: 'some are left',
    right: 'everything else is gone',
  },
  {
    id: 'unreadable-note-stops-scrub',
    fault: 'A scrub that meets a note which cannot be read ends there, and is told as finished.',
    should: 'The note is set aside and named; all blobs are looked at.',
    observe: async (world) => {
      const { mirror, notes, blobs } = await withBadNotes(world)
      const bad = notes.length
      await mirror.call('/api/scrub', 'POST')
      const scrub = async () => (await mirror.call<{ state: string; checked: number }>('/api/scrub')).json
      await eventually(async () => (await scrub()).state === 'idle', 'the scrub to end')
      return (await scrub()).checked >= blobs - bad ? 'all good ones checked' : 'some not checked'
    },
    today: 'some not checked',
    right: 'all good ones checked',
  },
  {
    id: 'unreadable-note-stops-rebuild',
    fault: 'A rebuild of the metadata that meets a note which cannot be read leaves the rest unrecorded for ever.',
    should: 'The note is set aside and named; all other blobs are recorded.',
    observe: async (world) => {
      const { mirror, notes, blobs } = await withBadNotes(world)
      await mirror.stop()
      await loseMetadata(mirror)
      await mirror.start()
      const recorded = async () => (await mirror.stats()).storage.blobs >= blobs - notes.length
      return (await within(4000, recorded)) ? 'all recorded' : 'some not recorded'
    },
    today: 'some not recorded',
    right: 'all recorded',
  },
  {
    id: 'scrub-spins-on-full-disk',
    fault: 'A scrub that finds a blob missing on a full disk never ends, at full load, and nothing is answered.',
    should: 'What cannot be recorded is tried a bounded number of times; the mirror goes on answering.',
    observe: async (world) => {
      const disk = await world.disk(80 * MB)
      const { mirror, digest } = await oneStored(world, disk.path)
      // Held open, so that its removal gives the disk nothing back.
      await using _held = await open(mirror.path(digest))
      await disk.fill(0)
      given((await mirror.blob(repository, digest)).complete, 'the blob is not served')
      await rm(mirror.path(digest))
      for (let method: 'POST' | 'GET' = 'POST'; ; method = 'GET') {
        const asked = mirror.call<{ state: string }>('/api/scrub', method).then(({ json }) => json.state)
        const state = await Promise.race([asked, sleep(4000, 'no answer', { ref: false })])
        if (state !== 'running') return state
      }
    },
    today: 'no answer',
    right: 'idle',
  },
]

/** Without its metadata, as when the file is deleted while it is stopped. */
export async function loseMetadata({ data }: Mirror): Promise<void> {
  for (const name of await readdir(data)) if (name.startsWith('metadata.sqlite')) await rm(`${data}/${name}`)
}

async function stored(mirror: Mirror, digest: Digest): Promise<void> {
  given((await mirror.blob(repository, digest)).complete, 'a blob is not served')
  await eventually(() => mirror.holds(digest), 'a blob to be stored')
  await mirror.settled()
}

async function oneStored(
  world: World,
  data?: string,
): Promise<{ mirror: Mirror; digest: Digest; upstream: TestUpstream }> {
  const upstream = await world.upstream()
  const digest = upstream.addBlob(repository, randomBlob(MB))
  const mirror = await world.mirror(upstream, data === undefined ? {} : { data })
  await stored(mirror, digest)
  await mirror.keeps(1)
  return { mirror, digest, upstream }
}

async function imageStored(world: World, added: ReturnType<typeof image>) {
  const upstream = await world.upstream()
  upstream.addImage(repository, 'latest', added)
  const mirror = await world.mirror(upstream)
  given((await mirror.manifest(repository, 'latest')).status === 200, 'the manifest is not served')
  for (const { digest } of [added.config, ...added.layers]) await stored(mirror, digest)
  await mirror.keeps(added.layers.length + 2)
  return { mirror, added }
}

/** Many manifests, half of their notes unreadable: so one of them comes early, in whatever order a folder is read. */
async function withBadNotes(world: World): Promise<{ mirror: Mirror; notes: Digest[]; blobs: number }> {
  const upstream = await world.upstream()
  const images = Array.from({ length: 30 }, (_, seed) => image({ layers: [], config: { seed } }).manifest)
  const digests = images.map((manifest, n) => upstream.addManifest(repository, manifest, `v${n}`))
  const mirror = await world.mirror(upstream)
  for (const [n] of digests.entries()) given((await mirror.manifest(repository, `v${n}`)).status === 200, 'no manifest')
  await mirror.keeps(digests.length)
  const notes = digests.filter((_, n) => n % 2 === 0)
  for (const digest of notes) {
    await rm(`${mirror.path(digest)}.json`)
    await mkdir(`${mirror.path(digest)}.json`)
  }
  return { mirror, notes, blobs: digests.length }
}

async function replaceFile(mirror: Mirror, digest: Digest, bytes: Buffer): Promise<void> {
  await rm(mirror.path(digest))
  await writeFile(mirror.path(digest), bytes)
}

/** It opens, cannot be read, and is removed by nobody who expects a file. */
async function replaceByFolder(mirror: Mirror, digest: Digest): Promise<void> {
  await rm(mirror.path(digest))
  await mkdir(mirror.path(digest))
}
