import assert from 'node:assert/strict'
import { chmod, readdir, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import { pathOf } from '../../src/storage/layout.ts'
import { hit, outcomeOf } from '../cache/answer.ts'
import { image, randomBlob } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { until } from '../support/wait.ts'

const repository = 'library/app'
const body = randomBlob(1_500_000)

async function storedBlobs({ mirror }: Stage): Promise<number> {
  return ((await mirror.stats()) as unknown as { storage: { blobs: number } }).storage.blobs
}

/** Pulls a layer, by its manifest if there is one, cuts its file to half, and restarts the mirror without its metadata. */
async function cutAndForget(stage: Stage, digest: Digest, manifest: string | undefined): Promise<void> {
  const before = manifest === undefined ? 1 : 2
  if (manifest !== undefined) assert.equal((await stage.get(`/v2/${repository}/manifests/${manifest}`)).status, 200)
  assert.equal((await stage.get(`/v2/${repository}/blobs/${digest}`)).digest, digest)
  await until(async () => (await storedBlobs(stage)) === before, 'all of it to be recorded')
  await stage.stop()
  for (const name of await readdir(stage.path)) {
    if (name.startsWith('metadata.sqlite')) await rm(join(stage.path, name))
  }
  await cut(stage, digest)
  await stage.restart()
}

async function cut(stage: Stage, digest: Digest): Promise<void> {
  const path = pathOf(stage.path, { kind: 'blob', digest })
  await chmod(path, 0o600)
  await truncate(path, body.length >> 1)
}

describe('a stored file that was cut short, and that no record gives a size', () => {
  for (const named of [true, false]) {
    const how = named ? 'named by a manifest' : 'pulled by itself'
    const add = (stage: Stage): { digest: Digest; manifest: string | undefined } => {
      if (!named) return { digest: stage.upstream.addBlob(repository, body), manifest: undefined }
      const added = image({ layers: [body] })
      stage.upstream.addImage(repository, '1', added)
      return { digest: added.layers[0]?.digest ?? assert.fail(), manifest: added.manifest.digest }
    }

    it(`is not served, ${how}`, async () => {
      await using stage = await Stage.start()
      const { digest, manifest } = add(stage)
      await cutAndForget(stage, digest, manifest)
      const path = `/v2/${repository}/blobs/${digest}`
      const head = await stage.get(path, { method: 'HEAD' })
      assert.equal(head.headers['content-length'], String(body.length))
      const [whole, last] = await Promise.all([
        stage.get(path),
        stage.get(path, { headers: { range: `bytes=${body.length - 10}-` } }),
      ])
      assert.deepEqual([whole.status, whole.digest], [200, digest])
      assert.deepEqual([last.status, last.body?.equals(body.subarray(-10))], [206, true])
      await until(async () => outcomeOf(await stage.get(path)) === hit, 'it to be stored again')
    })

    it(`is removed by the rebuild, ${how}`, async () => {
      await using stage = await Stage.start()
      const { digest, manifest } = add(stage)
      await cutAndForget(stage, digest, manifest)
      const folder = join(stage.path, 'blobs', 'sha256')
      const hex = digest.slice('sha256:'.length)
      await until(async () => !(await readdir(folder)).includes(hex), 'the cut file to be gone')
      await until(async () => (await storedBlobs(stage)) === (named ? 1 : 0), 'what is whole to be recorded')
    })
  }

  it('is neither a hit nor a length where the upstream is away', async () => {
    await using stage = await Stage.start()
    const digest = stage.upstream.addBlob(repository, body)
    await cutAndForget(stage, digest, undefined)
    await stage.upstream.stop()
    const path = `/v2/${repository}/blobs/${digest}`
    assert.equal((await stage.get(path)).status, 503)
    assert.equal((await stage.get(path, { method: 'HEAD' })).status, 503)
  })
})

describe('a whole stored file that no record gives a size', () => {
  it('is a hit, and recorded by the rebuild', async () => {
    await using stage = await Stage.start()
    const digest = stage.upstream.addBlob(repository, body)
    assert.equal((await stage.get(`/v2/${repository}/blobs/${digest}`)).digest, digest)
    await stage.stop()
    for (const name of await readdir(stage.path)) {
      if (name.startsWith('metadata.sqlite')) await rm(join(stage.path, name))
    }
    await stage.restart()
    stage.upstream.reset()
    await until(async () => (await storedBlobs(stage)) === 1, 'it to be recorded')
    assert.equal((await stage.get(`/v2/${repository}/blobs/${digest}`)).digest, digest)
    assert.equal(stage.upstream.bytes({ kind: 'blob', method: 'GET' }), 0)
  })
})
