import assert from 'node:assert/strict'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathOf } from '../../../src/storage/layout.ts'
import { image, index } from '../../support/image.ts'
import { Stage } from '../../support/stage.ts'
import { until } from '../../support/wait.ts'
import { hit, outcomeOf } from '../answer.ts'

const child = image({ platform: { os: 'linux', architecture: 'arm64' } })
const added = index([image(), child])
const layer = child.layers[0]?.digest ?? child.config.digest

async function pull(stage: Stage, repository: string): Promise<void> {
  for (const path of ['manifests/latest', `manifests/${child.manifest.digest}`, `blobs/${layer}`]) {
    assert.equal((await stage.get(`/v2/${repository}/${path}`)).status, 200)
  }
}

async function loseMetadata({ path }: Stage): Promise<void> {
  const gone = (await readdir(path)).filter((name) => name.startsWith('metadata.sqlite'))
  assert.ok(gone.length > 0)
  for (const name of gone) await rm(join(path, name))
}

async function known({ mirror }: Stage, blobs: number): Promise<void> {
  await until(async () => {
    const { storage } = (await mirror.stats()) as unknown as { storage: { blobs: number } }
    return storage.blobs === blobs
  }, `${blobs} blobs to be known`)
}

describe('lost metadata', () => {
  it('lose no content: links come from the notes, tags from the upstream', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    await pull(stage, 'library/alpine')
    await known(stage, 3)
    await stage.stop()
    await loseMetadata(stage)

    await stage.upstream.stop()
    await stage.restart()
    await known(stage, 3)
    for (const path of [`manifests/${added.manifest.digest}`, `manifests/${child.manifest.digest}`, `blobs/${layer}`]) {
      const answer = await until(async () => {
        const received = await stage.get(`/v2/library/alpine/${path}`)
        return received.status === 503 ? undefined : received
      }, 'the links to be back')
      assert.deepEqual([answer.status, outcomeOf(answer)], [200, hit])
      assert.equal(path.endsWith(answer.digest), true)
    }
    assert.equal((await stage.get('/v2/library/alpine/manifests/latest')).status, 503)
    assert.equal((await stage.get(`/v2/library/other/blobs/${layer}`)).status, 503)

    await stage.upstream.restart()
    stage.upstream.reset()
    stage.clock.now += 60_000
    assert.equal((await stage.get('/v2/library/alpine/manifests/latest')).digest, added.manifest.digest)
    assert.deepEqual(
      stage.upstream.requests.map(({ kind }) => kind),
      ['manifest'],
    )
  })

  it('are replaced by proofs from the upstream where a note is lost as well', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    await pull(stage, 'library/alpine')
    await stage.stop()
    await loseMetadata(stage)
    for (const { manifest } of [added, child]) {
      await rm(pathOf(stage.path, { kind: 'note', digest: manifest.digest }))
    }
    await stage.restart()
    stage.upstream.reset()
    await pull(stage, 'library/alpine')
    assert.equal(stage.upstream.bytes({ kind: 'blob' }), 0)
  })

  it('are not restored from damaged notes or manifests', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', added)
    await pull(stage, 'library/alpine')
    await stage.stop()
    await loseMetadata(stage)
    const note = pathOf(stage.path, { kind: 'note', digest: added.manifest.digest })
    await writeFile(note, '{"mediaType": 7')
    const manifest = pathOf(stage.path, { kind: 'blob', digest: child.manifest.digest })
    await rm(manifest)
    // Of the same layer, which it must not prove.
    await writeFile(manifest, image({ config: { other: true } }).manifest.body)
    await stage.upstream.stop()
    await stage.restart()
    await known(stage, 2)
    for (const path of [`manifests/${added.manifest.digest}`, `manifests/${child.manifest.digest}`, `blobs/${layer}`]) {
      assert.equal((await stage.get(`/v2/library/alpine/${path}`)).status, 503)
    }
  })

  it('keep private content private', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage('library/alpine', 'latest', child)
    await stage.get('/v2/library/alpine/manifests/latest')
    await stage.stop()
    await loseMetadata(stage)
    const note = { mediaType: child.manifest.mediaType, repositories: { 'docker.io/library/alpine': 'unproven' } }
    await writeFile(pathOf(stage.path, { kind: 'note', digest: child.manifest.digest }), JSON.stringify(note))
    await stage.upstream.stop()
    await stage.restart()
    await known(stage, 1)
    const path = `/v2/library/alpine/manifests/${child.manifest.digest}`
    assert.equal((await stage.get(path)).status, 503)
    await stage.restart({ username: 'someone', password: 'secret', privateRepositories: 'serve' })
    assert.equal((await stage.get(path)).status, 200)
  })
})
