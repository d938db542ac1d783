import assert from 'node:assert/strict'
import { it } from 'node:test'
import { RedisServer, redisSuite } from '../metadata/redis/redis-server.ts'
import { image } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { until } from '../support/wait.ts'

const repository = 'library/app'
const other = 'library/other'

redisSuite('a record in Redis that has a line break', () => {
  it('is as good as absent: the tag is fetched, cold and from memory, and the record is replaced', async () => {
    await using redis = await RedisServer.start()
    const config = { metadata: { kind: 'redis', url: redis.url } }
    await using stage = await Stage.start({ config, entry: { tagTtl: '1h' } })
    const digest = stage.upstream.addImage(repository, 'latest', image())
    stage.upstream.addImage(other, 'latest', image())
    assert.equal((await stage.get(`/v2/${repository}/manifests/latest`)).digest, digest)
    await stage.restart()
    // As if another mirror had fetched the same image through another repository.
    const record = ['mediaType', 'application/json\r\nx-more: 1', 'size', '500', 'digest', digest]
    const tagKey = `entrepot:tag:docker.io/${other}:latest`
    await redis.ask('HSET', tagKey, ...record, 'checkedAt', String(stage.clock.now))
    await redis.ask('HSET', `entrepot:link:{docker.io/${other}}:manifest:${digest}`, ...record, 'visibility', 'public')
    for (const time of ['cold', 'from memory']) {
      const { status, headers, ...got } = await stage.get(`/v2/${other}/manifests/latest`)
      assert.deepEqual([status, got.digest], [200, digest], time)
      assert.equal(headers['content-type'], 'application/vnd.oci.image.manifest.v1+json')
    }
    const isHealed = async () =>
      (await redis.hash(tagKey))['mediaType'] === 'application/vnd.oci.image.manifest.v1+json'
    await until(isHealed, 'the record to be replaced')
  })
})
