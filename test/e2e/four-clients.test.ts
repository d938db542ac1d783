import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { TestImage } from '../support/image.ts'
import type { Architecture, Client, ClientKind } from './support/client.ts'
import { Containerd, containerd } from './support/containerd.ts'
import { eventually } from './support/daemon.ts'
import { DockerRegistry, testLogin } from './support/docker-registry.ts'
import { Dockerd, dockerd } from './support/dockerd.ts'
import { MirrorProcess } from './support/mirror-process.ts'
import { podman } from './support/podman.ts'
import { programSuite } from './support/programs.ts'
import { imagesOf, type Pushed, push } from './support/push.ts'
import { Skopeo, skopeo } from './support/skopeo.ts'
import { bigLayerSize, buildBig, buildStock, type Stock } from './support/stock.ts'

const kinds: readonly ClientKind[] = [dockerd, containerd, podman, skopeo]
const programs = ['docker-registry', 'dockerd', 'docker', 'containerd', 'ctr', 'podman', 'skopeo', 'busybox', 'tar']

/** By the names that users write. The registry behind quay.io demands a login, which no client has. */
const app = 'docker.io/library/app:1'
const big = 'docker.io/library/big:1'
const tool = 'quay.io/team/tool:2'

programSuite('four clients, two upstreams, one mirror', programs, () => {
  const stack = new AsyncDisposableStack()
  after(() => stack.disposeAsync())
  let stock: Stock
  let bigImage: TestImage
  let hub: DockerRegistry
  let quay: DockerRegistry
  let mirror: MirrorProcess

  before(async () => {
    stock = await buildStock()
    bigImage = await buildBig()
    hub = stack.use(await DockerRegistry.start())
    quay = stack.use(await DockerRegistry.start({ login: testLogin }))
    await push(hub, 'library/app', '1', stock.app)
    await push(hub, 'library/big', '1', bigImage)
    await push(quay, 'team/tool', '2', stock.tool)
    const { username, password } = testLogin
    mirror = stack.use(
      await MirrorProcess.start({
        upstreams: {
          'docker.io': { url: hub.url, tagTtl: '0s' },
          'registry.example:5000': { url: hub.url },
          'quay.io': { url: quay.url, username, password, privateRepositories: 'serve', tagTtl: '0s' },
        },
      }),
    )
  })

  /** Every client at once, each with an empty store, each pulling everything. */
  async function pullEverything(): Promise<void> {
    await using clients = new AsyncDisposableStack()
    const started = await Promise.all(
      kinds.map(async ({ name, create }) => ({ name, client: clients.use(await create(mirror.host)) })),
    )
    const outcomes = await Promise.allSettled(
      started.map(async ({ name, client }) => {
        await client.pull(app)
        await client.pull(tool)
        await client.pull(big)
        await compare({ name, client }, app, stock.app)
        await compare({ name, client }, tool, stock.tool)
        await compare({ name, client }, big, bigImage)
        if (!client.run) return
        assert.equal(await client.run(app), 'hello from app\n', name)
        assert.equal(await client.run(tool), 'hello from tool\n', name)
      }),
    )
    const failures = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason)
    if (failures.length > 0) throw failures.length === 1 ? failures[0] : new AggregateError(failures)
  }

  test('from a cold mirror, all of them get every image, and run it', pullEverything)

  test('each upstream was asked once for each of its blobs, and by the mirror alone', async () => {
    for (const registry of [hub, quay]) {
      const blobs = registry.downloads.filter(({ path }) => path.includes('/blobs/')).map(({ path }) => path)
      assert.deepEqual(blobs, [...new Set(blobs)])
      const agents = registry.requests.map(({ userAgent }) => userAgent.split('/')[0])
      assert.deepEqual(new Set(agents), new Set(['node', 'entrepot']), 'this test, which pushed, and the mirror')
    }
    const downloads = [hub, quay].flatMap((registry) => registry.downloads)
    const shared = stock.app.images[0]?.layers[0]?.digest ?? ''
    const fetched = downloads.filter(({ path }) => path.endsWith(shared))
    assert.equal(fetched.length, 1, 'a layer that both have came from one of them')

    const { bytes } = await mirror.ask<{ bytes: { served: number; fromUpstream: number } }>('/api/stats')
    assert.equal(
      bytes.fromUpstream,
      downloads.reduce((sum, download) => sum + download.bytes, 0),
    )
    assert.ok(bytes.served > 4 * bigLayerSize, `${bytes.served} bytes served`)
  })

  test('each client asked for each image by the upstream that it meant', () => {
    for (const agent of ['docker', 'containerd', 'containers', 'skopeo']) {
      const own = mirror.requests.filter(({ userAgent }) => userAgent?.startsWith(`${agent}/`))
      const refused = own.filter(({ status }) => status >= 400)
      assert.deepEqual(refused, [], agent)
      const content = own.filter(({ kind }) => kind !== 'other')
      const asked = new Set(content.map(({ upstream, repository }) => `${upstream} ${repository}`))
      assert.deepEqual(asked, new Set(['docker.io library/app', 'docker.io library/big', 'quay.io team/tool']), agent)
    }
  })

  test('the other platform of an image is another image, by the same name', async () => {
    await using clients = new AsyncDisposableStack()
    for (const { name, create } of kinds) {
      const client = clients.use(await create(mirror.host))
      await client.pull(app, 'arm64')
      await compare({ name, client, architecture: 'arm64' }, app, stock.app)
    }
  })

  test('a registry without settings of its own goes through the mirror, unless that refuses it', async () => {
    await using client = await Containerd.create(mirror.host)
    await client.pull('registry.example:5000/library/app:1')
    await compare({ name: 'containerd', client }, 'registry.example:5000/library/app:1', stock.app)
    assert.ok(mirror.requests.some(({ upstream }) => upstream === 'registry.example:5000'))

    const elsewhere = client.pull('elsewhere.example/library/app:1')
    await assert.rejects(elsewhere, /elsewhere\.example/, 'it asks that registry itself, which does not exist')
    const refused = () => mirror.requests.filter(({ status }) => status === 403)
    await eventually(() => refused().length > 0, 'the refusal in the log')
    assert.ok(refused().every(({ userAgent }) => userAgent?.startsWith('containerd/')))
  })

  test('a build gets its base image through the mirror', async () => {
    const before = mirror.requests.length
    await using engine = await Dockerd.create(mirror.host)
    const id = await engine.build('FROM app:1\nENTRYPOINT ["/bin/busybox", "echo", "built"]\n')
    assert.equal(await engine.docker('run', '--rm', '--network=none', id), 'built\n')
    const agents = () => mirror.requests.slice(before).map(({ userAgent }) => userAgent?.split('/')[0])
    await eventually(() => agents().length > 0, 'the requests in the log')
    assert.deepEqual(new Set(agents()), new Set(['containerd']), 'that is what BuildKit pulls with')
  })

  test('with both upstreams stopped, new clients get all of it from the cache', async () => {
    await hub.stop()
    await quay.stop()
    await pullEverything()
  })
})

interface Subject {
  readonly name: string
  readonly client: Client
  readonly architecture?: Architecture
}

/** What a client holds against what was pushed: the name's manifest, the image's id, each layer. */
async function compare(subject: Subject, image: string, pushed: Pushed): Promise<void> {
  const { name, client, architecture = 'amd64' } = subject
  const expected = imagesOf(pushed).find(({ platform }) => platform.architecture === architecture)
  const held = await client.held(image, architecture)
  assert.ok(held.digests.includes(pushed.manifest.digest), `${name}: ${image} is ${held.digests}`)
  assert.equal(held.id, expected?.config.digest, `${name}: the id of ${image}`)
  const { diff_ids: diffIds } = JSON.parse(String(expected?.config.body)).rootfs
  assert.deepEqual(held.diffIds, diffIds, `${name}: the layers of ${image}`)
  const blobs = client instanceof Containerd ? await client.blobs() : undefined
  const own = client instanceof Skopeo ? await client.blobs(image) : blobs
  for (const [claimed, real] of own ?? []) assert.equal(real, claimed, `${name}: a blob of ${image}`)
}
