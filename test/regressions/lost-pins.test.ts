import assert from 'node:assert/strict'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { call } from '../support/admin-client.ts'
import { image } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { until } from '../support/wait.ts'

const repository = 'library/app'
const pattern = `docker.io/${repository}:latest`

async function pinned({ mirror }: Stage): Promise<string[]> {
  return (await call<{ pins: string[] }>(`${mirror.adminUrl}/api/pins`)).json.pins
}

describe('pins', () => {
  it('are there after the metadata was deleted while the mirror was stopped', async () => {
    await using stage = await Stage.start()
    stage.upstream.addImage(repository, 'latest', image())
    assert.equal((await stage.get(`/v2/${repository}/manifests/latest`)).status, 200)
    await until(async () => (await stage.mirror.stats()).storage.blobs === 1, 'the manifest to be recorded')
    const { status } = await call(`${stage.mirror.adminUrl}/api/pins`, 'POST', { body: { pattern } })
    assert.equal(status, 201)
    await stage.stop()
    for (const name of await readdir(stage.path)) {
      if (name.startsWith('metadata.sqlite')) await rm(join(stage.path, name))
    }
    await stage.restart()
    assert.deepEqual(await pinned(stage), [pattern])
    // The pin counts again as soon as the tag is known again.
    assert.equal((await stage.get(`/v2/${repository}/manifests/latest`)).status, 200)
    await until(async () => (await stage.mirror.stats()).storage.blobs === 1, 'the manifest to be recorded again')
    const { json } = await call<{ images: { pinned: boolean }[] }>(`${stage.mirror.adminUrl}/api/images`)
    assert.deepEqual(
      json.images.map((each) => each.pinned),
      [true],
    )
  })

  it('that cannot be read keep nothing from starting, and are told in one line', async () => {
    await using stage = await Stage.start()
    await call(`${stage.mirror.adminUrl}/api/pins`, 'POST', { body: { pattern } })
    await stage.stop()
    await writeFile(join(stage.path, 'pins.json'), '{"pins": [')
    await stage.restart()
    assert.deepEqual(await pinned(stage), [])
    const lines = () => stage.mirror.log.filter(({ msg }) => msg === 'the file of pins cannot be read')
    await until(() => lines().length > 0, 'the line')
    const told = lines()
    assert.equal(told.length, 1)
    assert.match(String(told[0]?.['setAside']), /pins\.json\.corrupt-/)
  })
})
