import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { digestOf, hexOf } from '../../src/oci/digest.ts'
import { get, open } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { randomBlob } from '../support/image.ts'
import { entrepot } from '../support/program.ts'
import { tempDir } from '../support/temp.ts'
import { TestUpstream } from '../support/upstream.ts'
import { repository } from './support/house.ts'
import { configure, startProcess } from './support/process.ts'

const size = 5_000_000
const body = randomBlob(size)
const digest = digestOf(body)
const path = `/v2/${repository}/blobs/${digest}`

describe('a mirror that is killed', () => {
  it('during a fill leaves no blob, and the next pull works', async () => {
    await using dir = await tempDir()
    await using upstream = await TestUpstream.start()
    upstream.addBlob(repository, body)
    const gate = new Gate()
    upstream.fault({ kind: 'blob' }, { gate, gateAt: size - 1, times: 1 })
    const config = await configure(dir.path, upstream.url)
    const ingest = join(dir.path, 'data', 'ingest')

    await using first = await startProcess(dir.path, config)
    await using reader = await open(first.url + path)
    await gate.arrived()
    assert.equal((await reader.read(size - 1)).length, size - 1)
    assert.equal((await readdir(ingest)).length, 1)
    await first.kill()
    await reader.some()
    assert.equal(reader.complete, false)

    await using second = await startProcess(dir.path, config)
    assert.deepEqual(await readdir(ingest), [])
    assert.deepEqual(await readdir(join(dir.path, 'data', 'blobs', 'sha256')), [])
    const got = await get(second.url + path)
    assert.deepEqual([got.status, got.complete, got.digest], [200, true, digest])
    assert.equal(got.headers['cache-status'], 'entrepot; fwd=uri-miss; stored')
    assert.equal(upstream.count({ kind: 'blob', method: 'GET' }), 2)
  })

  it('after a fill still has the blob', async () => {
    await using dir = await tempDir()
    await using upstream = await TestUpstream.start()
    upstream.addBlob(repository, body)
    const config = await configure(dir.path, upstream.url)
    const file = join(dir.path, 'data', 'blobs', 'sha256', hexOf(digest))
    await using first = await startProcess(dir.path, config)
    assert.equal((await get(first.url + path)).digest, digest)
    // The client has its last byte before the blob is in its place.
    while (!existsSync(file)) await get(`${first.adminUrl}/livez`)
    await first.kill()
    await using second = await startProcess(dir.path, config)
    const got = await get(second.url + path)
    assert.deepEqual([got.digest, got.headers['cache-status']], [digest, 'entrepot; hit'])
  })
})

describe('a data folder', () => {
  it('belongs to one process: a second one says so in one line and ends with 1', async () => {
    await using dir = await tempDir()
    await using upstream = await TestUpstream.start()
    upstream.addBlob(repository, body)
    const gate = new Gate()
    upstream.fault({ kind: 'blob' }, { gate, gateAt: 1_000_000 })
    const config = await configure(dir.path, upstream.url)
    await using first = await startProcess(dir.path, config)
    const pull = get(first.url + path)
    await gate.arrived()
    const { status, out, err } = await entrepot(['serve', '--config', config])
    assert.deepEqual([status, out], [1, ''])
    assert.equal(err, `entrepot: data folder ${join(dir.path, 'data')} is in use by another entrepot process\n`)
    gate.open()
    assert.equal((await pull).digest, digest)
  })
})
