import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf } from '../../../src/oci/digest.ts'
import { eventually } from '../../e2e/support/daemon.ts'
import { image, randomBlob } from '../../support/image.ts'
import { Wire } from '../../support/wire.ts'
import { given, type KnownFault } from './known-fault.ts'
import { within } from './within.ts'

const repository = 'team/app'
const MB = 1_000_000
const body = randomBlob(4 * MB)
const digest = digestOf(body)
const blobGet = { kind: 'blob', method: 'GET' } as const

/** What the client sees, where it could have been spared. */
export const patience: readonly KnownFault[] = [
  {
    id: 'short-outage-cuts-body',
    fault: 'An upstream that is away for some seconds in the middle of a body costs the client its download.',
    should: 'The download waits and goes on when the upstream is back; the client notices nothing.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addBlob(repository, body)
      upstream.fault(blobGet, { cutAfter: 2 * MB, times: 1 })
      upstream.fault(blobGet, { status: 503 })
      const mirror = await world.mirror(upstream)
      const pull = mirror.blob(repository, digest)
      // Less than Docker waits, and than the mirror is to wait.
      await Promise.race([pull, sleep(20_000, undefined, { ref: false })])
      upstream.clearFaults()
      return (await pull).complete ? 'whole' : 'cut'
    },
    today: 'cut',
    right: 'whole',
  },
  {
    id: 'resume-without-range-cuts-body',
    fault: 'A body that breaks off beyond its first MiB is not resumed where the upstream ignores ranges.',
    should: 'It starts over from the first byte, unseen by the client.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addBlob(repository, body)
      upstream.fault(blobGet, { cutAfter: 2 * MB, times: 1 })
      upstream.fault(blobGet, { ignoreRange: true })
      const mirror = await world.mirror(upstream)
      return (await mirror.blob(repository, digest)).complete ? 'whole' : 'cut'
    },
    today: 'cut',
    right: 'whole',
  },
  {
    id: 'one-refusal-reaches-client',
    fault: 'One 503 before the first byte of a blob is passed on to the client.',
    should: 'It is asked once more after a pause.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addBlob(repository, body)
      upstream.fault(blobGet, { status: 503, times: 1 })
      const mirror = await world.mirror(upstream)
      return `${(await mirror.blob(repository, digest)).status}`
    },
    today: '503',
    right: '200',
  },
  {
    id: 'cold-layers-beyond-limit-fail',
    fault: 'Of 60 cold layers at an upstream that takes 16 connections, most fail with 503.',
    should: 'What the upstream does not take at once waits for its turn; all layers come.',
    observe: async (world) => {
      const upstream = await world.upstream()
      const layers = Array.from({ length: 60 }, (_, seed) => upstream.addBlob(repository, randomBlob(20_000, seed)))
      const refused = Promise.withResolvers<void>()
      upstream.fault(blobGet, { gate: Promise.race([refused.promise, sleep(20_000, undefined, { ref: false })]) })
      upstream.fault(
        ({ kind, method }) => {
          const open = upstream.count({ kind: 'blob', method: 'GET', state: 'open', status: [0, 200] })
          const isRefused = kind === 'blob' && method === 'GET' && open > 16
          if (isRefused) refused.resolve()
          return isRefused
        },
        { status: 503 },
      )
      const mirror = await world.mirror(upstream)
      const answers = await Promise.all(layers.map((layer) => mirror.blob(repository, layer)))
      return answers.every(({ status }) => status === 200) ? 'all came' : 'some failed'
    },
    today: 'some failed',
    right: 'all came',
  },
  {
    id: 'client-that-never-reads-stays',
    fault: 'A client that asks for a large manifest and never reads is never cut, and holds its copy.',
    should: 'A client that takes no byte is cut after its time, whatever it is being sent.',
    observe: async (world) => {
      const upstream = await world.upstream()
      const large = image({ annotations: { text: 'x'.repeat(7 * MB) } })
      upstream.addImage(repository, 'latest', large)
      const layer = upstream.addSynthetic(repository, 64 * MB)
      const mirror = await world.mirror(upstream, { config: { timeouts: { client: '1s', tagDeadline: '60s' } } })
      given((await mirror.manifest(repository, 'latest')).status === 200, 'the manifest is not stored')
      given((await mirror.blob(repository, layer)).complete, 'the blob is not stored')
      const logged = (kind: string): boolean =>
        mirror.log.some((line) => line['kind'] === kind && line['userAgent'] === 'still')
      using manifest = await Wire.open(mirror.url)
      manifest.pause()
      manifest.request(`GET /v2/${repository}/manifests/${large.manifest.digest}`, { 'user-agent': 'still' })
      using blob = await Wire.open(mirror.url)
      blob.pause()
      blob.request(`GET /v2/${repository}/blobs/${layer}`, { 'user-agent': 'still' })
      await eventually(() => logged('blob'), 'the other client, which wants a blob, to be cut')
      // It began first; it is given several times as long.
      return (await within(4000, () => logged('manifest'))) ? 'cut' : 'kept'
    },
    today: 'kept',
    right: 'cut',
  },
]
