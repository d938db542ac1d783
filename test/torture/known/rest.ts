import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { digestOf } from '../../../src/oci/digest.ts'
import { outcomeOf, revalidated } from '../../cache/answer.ts'
import { image, randomBlob } from '../../support/image.ts'
import { Wire } from '../../support/wire.ts'
import { given, type KnownFault } from './known-fault.ts'
import type { Mirror } from './mirror.ts'

const run = promisify(execFile)
const broken = 'team/broken'
const healthy = 'team/healthy'
const blob = randomBlob(30_000, 3)
const digest = digestOf(blob)

/** A failure rests longer with each one more; so many of them, and the rest outlasts what is looked at. */
const failures = 4

/** What becomes of a known tag of a repository with which all is well. */
async function healthyTag(mirror: Mirror): Promise<string> {
  const answer = await mirror.manifest(healthy, 'latest')
  return outcomeOf(answer) === revalidated ? 'asked' : answer.status === 200 ? 'stale' : `${answer.status}`
}

/** What fails for one makes the others wait. */
export const rest: readonly KnownFault[] = [
  {
    id: 'one-image-rests-all',
    fault: 'One image that is answered with 503 makes every tag of the same registry stale.',
    should: 'What fails for one repository rests for that repository; the others are asked.',
    observe: async (world) => {
      const upstream = await world.upstream()
      for (const name of [broken, healthy]) upstream.addImage(name, 'latest', image())
      const mirror = await world.mirror(upstream)
      given((await mirror.manifest(healthy, 'latest')).status === 200, 'the tag is not known')
      upstream.fault({ repository: broken }, { status: 503, headers: { 'retry-after': '600' } })
      given((await mirror.manifest(broken, 'latest')).status === 503, 'the other image does not fail')
      return healthyTag(mirror)
    },
    today: 'stale',
    right: 'asked',
  },
  {
    id: 'token-service-rests-all',
    fault: 'A token service that fails for one repository makes tags stale for which there is a good token.',
    should: 'A failing token service is in the way of what needs a new token, and of nothing else.',
    observe: async (world) => {
      const upstream = await world.upstream({ auth: { kind: 'bearer' } })
      for (const name of [broken, healthy]) upstream.addImage(name, 'latest', image())
      const mirror = await world.mirror(upstream)
      given((await mirror.manifest(healthy, 'latest')).status === 200, 'the tag is not known')
      upstream.fault({ kind: 'token' }, { status: 503, headers: { 'retry-after': '600' } })
      given((await mirror.manifest(broken, 'latest')).status === 503, 'the other image does not fail')
      return healthyTag(mirror)
    },
    today: 'stale',
    right: 'asked',
  },
  {
    id: 'manifest-limit-refuses-blobs',
    fault: "A 429 to one manifest GET refuses the registry's layers for as long as its Retry-After says.",
    should: 'A limit holds for the kind of request that met it: layers are fetched.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addImage(healthy, 'latest', image())
      upstream.addBlob(healthy, blob)
      const mirror = await world.mirror(upstream)
      upstream.fault({ kind: 'manifest', method: 'GET' }, { status: 429, headers: { 'retry-after': '3600' } })
      given((await mirror.manifest(healthy, 'latest')).status === 429, 'the limit is not met')
      return `${(await mirror.blob(healthy, digest)).status}`
    },
    today: '429',
    right: '200',
  },
  {
    id: 'own-descriptors-rest-upstream',
    fault: 'The mirror has no descriptor left for a connection, and makes the registry rest for it.',
    should: 'Our own want counts against nobody: the registry is asked as soon as there is a descriptor.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addImage(healthy, 'latest', image())
      const mirror = await world.mirror(upstream)
      // Its only connection, so that it needs no new one for its client.
      using wire = await Wire.open(mirror.url)
      wire.request('GET /v2/')
      given((await wire.answer())?.status === 200, 'the mirror does not answer')
      const hard = await descriptorLimit(mirror)
      for (let n = 0; n < failures; n += 1) {
        await limitDescriptors(mirror, await firstFree(mirror))
        wire.request(`GET /v2/${healthy}/manifests/latest`)
        given((await wire.answer())?.status === 503, 'there is a descriptor')
      }
      await limitDescriptors(mirror, hard)
      given(upstream.count() === 0, 'the upstream was asked')
      return mirror.upstreamState()
    },
    today: 'resting',
    right: 'ok',
  },
]

async function descriptorLimit({ id }: Mirror): Promise<number> {
  const limits = await readFile(`/proc/${id}/limits`, 'utf8')
  return Number(/^Max open files +\S+ +(\d+)/m.exec(limits)?.[1])
}

/** The number that the next file or connection gets. */
async function firstFree({ id }: Mirror): Promise<number> {
  const taken = new Set((await readdir(`/proc/${id}/fd`)).map(Number))
  for (let number = 0; ; number += 1) if (!taken.has(number)) return number
}

/** Numbers from this one on are not given out. */
async function limitDescriptors({ id }: Mirror, limit: number): Promise<void> {
  await run('prlimit', ['--pid', String(id), `--nofile=${limit}:`])
}
