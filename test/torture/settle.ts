import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { nameOf } from './ask.ts'
import type { Crowd } from './crowd.ts'
import { manifestAsk, tagAsk, wholeBlob } from './habits.ts'
import { statusOf } from './judge.ts'
import type { Seen } from './visit.ts'
import type { World } from './world.ts'

/** Milliseconds: the longest that the mirror leaves a failed upstream in peace, and some more. */
const recovery = 90_000
const tidying = 20_000
/** Where each answer takes too long, the rest is not waited for. */
const mostAsking = recovery + 60_000

/** At rest, before any client came. */
export interface Baseline {
  readonly descriptors: number
}

/** Connections to upstreams that are kept for a while, and files that are kept open for the next who wants them. */
const kept = 100
const mostMemory = 400 * 1024 * 1024

export async function baselineOf({ mirror }: World): Promise<Baseline> {
  return { descriptors: await mirror.descriptors() }
}

/** What has to hold once nobody attacks any more, and nobody has lent a hand. */
export async function settle(world: World, crowd: Crowd, { descriptors }: Baseline): Promise<void> {
  const { findings, mirror } = world
  await expectContent(world, crowd)
  await eventually(
    async () => (await readdir(join(world.dataFolder, 'ingest'))).length === 0,
    () => findings.add('spool-left', '', 'ingest/ is not empty'),
  )
  await eventually(
    async () => (await mirror.ask<unknown[]>('/api/fills'))?.length === 0,
    () => findings.add('fill-left', '', '/api/fills is not empty'),
  )
  let differs = ''
  await eventually(
    async () => {
      differs = await differenceOf(world)
      return differs === ''
    },
    () => findings.add('disk-differs', '', differs),
  )
  let open = 0
  await eventually(
    async () => {
      open = await mirror.descriptors()
      return open <= descriptors + kept
    },
    () => findings.add('descriptors-left', '', `${open} are open, ${descriptors} at the start`),
  )
  const memory = await mirror.memory()
  if (memory > mostMemory) findings.add('memory-left', '', `${Math.round(memory / 2 ** 20)} MiB resident`)
  let health = ''
  await eventually(
    async () => {
      const told = await mirror.ask<{ status: string; degraded: unknown[] }>('/readyz')
      health = JSON.stringify(told)
      return told?.status === 'ready' && told.degraded.length === 0
    },
    () => findings.add('not-ready', '', health),
  )
}

/** Every tag, what it points at, and some blobs beside: right, fresh and whole, sooner or later. */
async function expectContent(world: World, crowd: Crowd): Promise<void> {
  const { catalogue, findings } = world
  const startedAt = performance.now()
  const until = startedAt + recovery
  const random = world.random.fork('settle')
  const bulk = catalogue.blobs.filter(
    ({ repository, bytes }) => repository.startsWith('bulk/') && bytes.size < 5_000_000,
  )
  const asks = [
    ...catalogue.tags.map((tag) => ({ ask: tagAsk(tag, 'settle'), name: nameOf(tag), fresh: true })),
    ...catalogue.tags.map((tag) => {
      const manifest = tag.versions[0] ?? random.pick(catalogue.manifests)
      return { ask: manifestAsk(manifest, 'settle'), name: manifest.digest, fresh: false }
    }),
    ...Array.from({ length: 12 }, () => random.pick(bulk)).map((blob) => ({
      ask: wholeBlob(blob, { habit: 'settle' }),
      name: blob.digest,
      fresh: false,
    })),
  ]
  for (const { ask, name, fresh } of asks) {
    if (performance.now() > startedAt + mostAsking) {
      findings.add('not-served', name, 'there was no time left to ask for it')
      continue
    }
    let seen: Seen | undefined
    const isServed = async () => {
      seen = await crowd.ask(ask)
      const isGood = seen.status === 200 && seen.complete && !seen.wrong && !statusOf(seen).includes('detail=stale')
      return isGood && (!fresh || world.history.lastPointed(name, seen.digest) === Number.POSITIVE_INFINITY)
    }
    while (!(await isServed())) {
      // Judged as what it is: a file that was damaged stays so, and is not waited for.
      if (seen?.complete && seen.wrong) break
      if (performance.now() > until) {
        findings.add(
          'not-served',
          name,
          `after ${recovery / 1000} s of calm: ${seen?.status} ${statusOf(seen ?? { headers: {} })} ${seen?.error}`,
        )
        break
      }
      await sleep(500)
    }
  }
}

/** Undefined agreement is an empty text. */
async function differenceOf({ dataFolder, mirror, maxSize }: World): Promise<string> {
  const disk = await diskUsage(join(dataFolder, 'blobs'))
  const records = recordedUsage(join(dataFolder, 'metadata.sqlite'))
  const told = (await mirror.ask<{ storage: { used: number; blobs: number } }>('/api/stats'))?.storage
  const texts = [
    `disk ${disk.bytes} bytes in ${disk.blobs}`,
    `records ${records.bytes} bytes in ${records.blobs}`,
    `statistics ${told?.used} bytes in ${told?.blobs}`,
  ]
  const agree = [records, { bytes: told?.used, blobs: told?.blobs }].every(
    ({ bytes, blobs }) => bytes === disk.bytes && blobs === disk.blobs,
  )
  if (!agree) return texts.join('; ')
  return disk.bytes > maxSize ? `${texts.join('; ')}: above the bound of ${maxSize}` : ''
}

interface Usage {
  readonly bytes: number
  readonly blobs: number
}

async function diskUsage(folder: string): Promise<Usage> {
  let [bytes, blobs] = [0, 0]
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name.includes('.')) continue
    bytes += (await stat(join(entry.parentPath, entry.name))).size
    blobs += 1
  }
  return { bytes, blobs }
}

function recordedUsage(path: string): Usage {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    const row = database.prepare('SELECT COUNT(*) AS blobs, COALESCE(SUM(size), 0) AS bytes FROM uses').get()
    return { bytes: Number(row?.['bytes']), blobs: Number(row?.['blobs']) }
  } finally {
    database.close()
  }
}

async function eventually(condition: () => Promise<boolean>, otherwise: () => void): Promise<void> {
  const until = performance.now() + tidying
  while (!(await condition().catch(() => false))) {
    if (performance.now() > until) return otherwise()
    await sleep(250)
  }
}
