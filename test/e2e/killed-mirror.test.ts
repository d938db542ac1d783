import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { TestImage } from '../support/image.ts'
import type { Client, ClientKind } from './support/client.ts'
import { containerd } from './support/containerd.ts'
import { eventually } from './support/daemon.ts'
import { DockerRegistry } from './support/docker-registry.ts'
import { dockerd } from './support/dockerd.ts'
import { MirrorProcess } from './support/mirror-process.ts'
import { fileDigests } from './support/oci-files.ts'
import { podman } from './support/podman.ts'
import { programSuite } from './support/programs.ts'
import { push } from './support/push.ts'
import { skopeo } from './support/skopeo.ts'
import { buildBig } from './support/stock.ts'
import { Valve } from './support/valve.ts'

const kinds: readonly ClientKind[] = [dockerd, containerd, podman, skopeo]
const programs = ['docker-registry', 'dockerd', 'docker', 'containerd', 'ctr', 'podman', 'skopeo', 'tar']

const big = 'docker.io/library/big:1'

programSuite('a mirror that is killed in the middle of a pull', programs, () => {
  const stack = new AsyncDisposableStack()
  after(() => stack.disposeAsync())
  let image: TestImage
  let hub: DockerRegistry
  let valve: Valve
  let mirror: MirrorProcess

  before(async () => {
    image = await buildBig()
    hub = stack.use(await DockerRegistry.start())
    await push(hub, 'library/big', '1', image)
    valve = stack.use(await Valve.start(hub.port, 80 * 1024 * 1024))
    mirror = stack.use(await MirrorProcess.start({ upstreams: { 'docker.io': { url: valve.url } } }))
  })

  test('each client ends with the right image: it goes on by itself, or is told to pull again', async (t) => {
    const clients = await Promise.all(kinds.map(async ({ create }) => stack.use(await create(mirror.host))))
    const pulls = clients.map((client) => client.pull(big).then(() => undefined, reasonOf))
    await eventually(
      async () => valve.holds && (await followers()) === clients.length,
      'every client to be in the middle of the large layer',
    )
    await mirror.kill()
    valve.open()
    await mirror.start()

    const failures = await Promise.all(pulls)
    for (const [n, client] of clients.entries()) {
      const failure = failures[n]
      const name = kinds[n]?.name ?? ''
      t.diagnostic(failure === undefined ? `${name} went on by itself` : `${name} gave up: ${failure}`)
      if (failure !== undefined) await client.pull(big)
      await compare(name, client)
    }
    const resumed = mirror.requests.filter(({ range }) => range !== undefined)
    assert.deepEqual([...new Set(resumed.map(({ status }) => status))], [206], 'some asked for the rest, and got it')
  })

  test('what the mirror has stored is what it says it is', async () => {
    const layer = image.layers[1]?.digest ?? ''
    await eventually(async () => (await fileDigests(mirror.blobsFolder)).has(layer), 'the large layer to be stored')
    const blobs = await fileDigests(mirror.blobsFolder)
    for (const [claimed, real] of blobs) assert.equal(real, claimed)
  })

  async function followers(): Promise<number> {
    const fills = await mirror.ask<{ followers: number; size: number | null }[]>('/api/fills')
    return fills.find(({ size }) => size === image.layers[1]?.size)?.followers ?? 0
  }

  async function compare(name: string, client: Client): Promise<void> {
    const held = await client.held(big)
    assert.ok(held.digests.includes(image.manifest.digest), name)
    assert.equal(held.id, image.config.digest, name)
    assert.deepEqual(held.diffIds, JSON.parse(String(image.config.body)).rootfs.diff_ids, name)
  }
})

/** The last line of what the program said. */
function reasonOf(error: Error): string {
  return error.message.trim().split('\n').at(-1) ?? ''
}
