import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { hexOf } from '../../src/oci/digest.ts'
import { get, open, type Reader } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { tempDir } from '../support/temp.ts'
import { TestUpstream } from '../support/upstream.ts'
import { until } from '../support/wait.ts'
import { repository } from './support/house.ts'
import { configure, startProcess } from './support/process.ts'

const MB = 1_000_000
const size = 1000 * MB
const clients = 100

describe('100 slow clients of one download of 1 GB', () => {
  it('cost less than 150 MB of memory, and leave no file open when they go', async (test) => {
    await using dir = await tempDir()
    await using upstream = await TestUpstream.start()
    const digest = upstream.addSynthetic(repository, size)
    const path = `/v2/${repository}/blobs/${digest}`
    await using mirror = await startProcess(dir.path, await configure(dir.path, upstream.url))
    assert.equal((await get(`${mirror.url}/v2/`)).status, 200)
    // The thread that writes starts with the first blob that is worth it, and stays.
    const first = upstream.addSynthetic(repository, 2 * MB)
    assert.equal((await get(`${mirror.url}/v2/${repository}/blobs/${first}`)).digest, first)
    await until(async () => (await mirror.openFiles()).length === 0, 'the first fill to end')
    const idle = await mirror.resident()
    const handles = await mirror.descriptors()
    const gates = [200, 400, 600, 800, 950].map((at) => ({ at: at * MB, gate: new Gate() }))
    upstream.fault({ kind: 'blob' }, { gates })

    const slow: Reader[] = []
    for (let client = 0; client < clients; client += 1) slow.push(await open(mirror.url + path))
    let peak = 0
    for (const { gate } of gates) {
      await gate.arrived()
      // Far enough apart that most of them read from the disk.
      await Promise.all(slow.map((reader, index) => reader.read(index * 5000)))
      peak = Math.max(peak, await mirror.resident())
      if (gate !== gates.at(-1)?.gate) gate.open()
    }
    test.diagnostic(`memory: ${Math.round(idle / MB)} MB idle, ${Math.round((peak - idle) / MB)} MB more at most`)
    assert.ok(peak - idle < 150 * MB)

    // They leave while nothing comes: only the fill itself has its file open.
    assert.equal((await mirror.openFiles()).length, 1)
    for (const reader of slow) reader.abort()
    // Threads that were started meanwhile have a few, and stay.
    await until(async () => (await mirror.descriptors()) <= handles + clients / 4, 'the connections to be closed')
    assert.equal((await mirror.openFiles()).length, 1)
    gates.at(-1)?.gate.open()
    await until(async () => (await mirror.openFiles()).length === 0, 'the fill to end')
    const head = await get(mirror.url + path, { readBytes: 1 })
    assert.equal(head.headers['cache-status'], 'entrepot; hit')
    assert.equal(upstream.count({ kind: 'blob' }), 2)
    assert.equal(head.headers['etag'], `"sha256:${hexOf(digest)}"`)
  })
})
