import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import type { TestImage } from '../support/image.ts'
import { DockerRegistry } from './support/docker-registry.ts'
import { MirrorProcess } from './support/mirror-process.ts'
import { fileDigests, type Manifest } from './support/oci-files.ts'
import { programSuite } from './support/programs.ts'
import { imagesOf, type Pushed, push } from './support/push.ts'
import { Skopeo } from './support/skopeo.ts'
import { buildBig, buildStock, type Stock } from './support/stock.ts'

programSuite('skopeo pulls into an OCI layout', ['docker-registry', 'skopeo', 'busybox', 'tar'], () => {
  const stack = new AsyncDisposableStack()
  after(() => stack.disposeAsync())
  let stock: Stock
  let big: TestImage
  let registry: DockerRegistry
  let mirror: MirrorProcess

  before(async () => {
    stock = await buildStock()
    big = await buildBig()
    registry = stack.use(await DockerRegistry.start())
    await push(registry, 'library/tool', '2', stock.tool)
    await push(registry, 'library/big', '1', big)
    mirror = stack.use(await MirrorProcess.start({ upstreams: { 'docker.io': { url: registry.url, tagTtl: '0s' } } }))
  })

  /** Pulls an image from the mirror by its bare address, and compares every file with what was pushed. */
  async function pullAndCompare(name: string, tag: string, pushed: Pushed): Promise<void> {
    await using skopeo = await Skopeo.create(mirror.host)
    const layout = skopeo.in('layout')
    await skopeo.copy(`docker://${mirror.host}/${name}:${tag}`, `oci:${layout}:${tag}`, '--all')

    const index = JSON.parse(await readFile(`${layout}/index.json`, 'utf8')) as Manifest
    assert.deepEqual(
      index.manifests?.map(({ digest }) => digest),
      [pushed.manifest.digest],
    )
    const blobs = await fileDigests(`${layout}/blobs/sha256`)
    for (const [claimed, real] of blobs) assert.equal(real, claimed)
    assert.deepEqual([...blobs.keys()].sort(), digestsOf(pushed))
  }

  test('every manifest and blob is the one that was pushed', async () => {
    await pullAndCompare('library/tool', '2', stock.tool)
    await pullAndCompare('big', '1', big)
  })

  test('each of them was downloaded once', () => {
    const references = registry.downloads.map(({ path }) => path.split('/').at(-1) ?? '')
    const tagged = new Set<string>([stock.tool.manifest.digest, big.manifest.digest])
    const others = [...digestsOf(stock.tool), ...digestsOf(big)].filter((digest) => !tagged.has(digest))
    assert.deepEqual(references.sort(), [...others, '1', '2'].sort())
  })

  test('with the upstream stopped, a new layout is filled from the cache with the same', async () => {
    await registry.stop()
    await pullAndCompare('library/tool', '2', stock.tool)
    await pullAndCompare('big', '1', big)
    const outcomes = new Set(mirror.requests.filter(({ kind }) => kind === 'manifest').map(({ outcome }) => outcome))
    assert.ok(outcomes.has('stale'), `the tags were answered as stale, not ${[...outcomes]}`)
  })

  test('and once more by a mirror that was started with the upstream down', async () => {
    await mirror.stop()
    await mirror.start()
    await pullAndCompare('library/tool', '2', stock.tool)
    await pullAndCompare('big', '1', big)
  })
})

function digestsOf(pushed: Pushed): string[] {
  const content = imagesOf(pushed).flatMap(({ manifest, config, layers }) => [manifest, config, ...layers])
  return [...new Set([pushed.manifest, ...content].map(({ digest }) => digest as string))].sort()
}
