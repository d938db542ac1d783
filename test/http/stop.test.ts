import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { listen } from '../../src/http/server.ts'
import { open } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { image, randomBlob } from '../support/image.ts'
import { startMirror } from '../support/mirror.ts'
import { Stage } from '../support/stage.ts'
import { tempDir } from '../support/temp.ts'
import { until } from '../support/wait.ts'
import { Wire } from '../support/wire.ts'

const added = image()
const latest = '/v2/library/alpine/manifests/latest'

async function start(shutdown: string): Promise<Stage> {
  const stage = await Stage.start({ config: { timeouts: { shutdown } } })
  stage.upstream.addImage('library/alpine', 'latest', added)
  return stage
}

async function readiness(adminUrl: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${adminUrl}/readyz`, { headers: { connection: 'close' } })
  return { status: response.status, text: ((await response.json()) as { status: string }).status }
}

describe('stopping', () => {
  it('lets downloads end, takes no new clients, closes idle connections, and says so meanwhile', async () => {
    await using stage = await start('60s')
    const { url, adminUrl } = stage.mirror
    const body = randomBlob(300_000, 8)
    const digest = stage.upstream.addBlob('library/alpine', body)
    const gate = new Gate()
    stage.upstream.fault({ kind: 'blob' }, { gate, gateAt: 100_000 })
    using idle = await Wire.open(url)
    idle.request('GET /v2/')
    await idle.answer()
    using busy = await Wire.open(url)
    busy.request(`GET /v2/library/alpine/blobs/${digest}`)
    await gate.arrived()
    assert.deepEqual(await readiness(adminUrl), { status: 200, text: 'ready' })

    const stopped = stage.mirror.stop()
    await idle.closed()
    assert.deepEqual(await readiness(adminUrl), { status: 503, text: 'stopping' })
    await assert.rejects(Wire.open(url), { code: 'ECONNREFUSED' })

    gate.open()
    const answer = await busy.answer()
    assert.ok(answer?.body.equals(body))
    await busy.closed()
    await stopped
    await assert.rejects(Wire.open(adminUrl), { code: 'ECONNREFUSED' })
  })

  it('keeps what was downloaded meanwhile', async () => {
    await using stage = await start('60s')
    const digest = stage.upstream.addBlob('library/alpine', randomBlob(300_000, 9))
    const gate = new Gate()
    stage.upstream.fault({ kind: 'blob' }, { gate, gateAt: 100_000 })
    const pull = stage.get(`/v2/library/alpine/blobs/${digest}`)
    await gate.arrived()
    const stopped = stage.mirror.stop()
    gate.open()
    assert.equal((await pull).digest, digest)
    await stopped
    await stage.upstream.stop()
    await stage.restart()
    const again = await stage.get(`/v2/library/alpine/blobs/${digest}`)
    assert.deepEqual([again.digest, again.headers['cache-status']], [digest, 'entrepot; hit'])
  })

  it('cuts what does not end in time, so that it is seen, and keeps nothing of it', async () => {
    await using stage = await start('50ms')
    const digest = stage.upstream.addBlob('library/alpine', randomBlob(300_000, 10))
    const gate = new Gate()
    stage.upstream.fault({ kind: 'blob' }, { gate, gateAt: 100_000 })
    const pull = await open(`${stage.mirror.url}/v2/library/alpine/blobs/${digest}`)
    await pull.read(50_000)
    await stage.mirror.stop()
    const rest = await pull.read(300_000)
    assert.ok(rest.length < 250_000)
    assert.equal(pull.complete, false)
    stage.upstream.clearFaults()
    await stage.restart()
    const again = await stage.get(`/v2/library/alpine/blobs/${digest}`)
    assert.equal(again.headers['cache-status'], 'entrepot; fwd=uri-miss; stored')
  })

  it('does not wait for an upstream that does not answer', async () => {
    await using stage = await start('50ms')
    stage.upstream.hang()
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET ${latest}`)
    await until(() => stage.upstream.count() > 0, 'the question')
    await stage.mirror.stop()
    await wire.closed()
  })

  it('leaves nothing that would hold up the end of the process', { timeout: 300_000 }, async () => {
    await using stage = await start('50ms')
    await using dir = await tempDir()
    const script = `
      import { parseConfig } from ${JSON.stringify(new URL('../../src/config/load.ts', import.meta.url))}
      import { serve } from ${JSON.stringify(new URL('../../src/serve.ts', import.meta.url))}
      const config = await parseConfig(process.argv[1], 'config.yaml', {})
      const server = await serve(config, { out: process.stderr, tty: false, version: 'test' })
      const answer = await fetch('http://' + server.listen + '${latest}')
      await answer.arrayBuffer()
      await server.stop('test')
      console.log(answer.status)
    `
    const config = {
      listen: '127.0.0.1:0',
      admin: { listen: '127.0.0.1:0' },
      storage: { kind: 'file', path: dir.path },
      upstreams: { 'docker.io': { url: stage.upstream.url } },
    }
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script, JSON.stringify(config)])
    const out: Buffer[] = []
    child.stdout.on('data', (chunk) => out.push(chunk))
    child.stderr.resume()
    const status = await new Promise((resolve) => child.once('close', resolve))
    assert.deepEqual([status, Buffer.concat(out).toString().trim()], [0, '200'])
  })
})

describe('starting', () => {
  const upstreams = { 'docker.io': 'http://127.0.0.1:9' }

  for (const [key, config] of Object.entries({
    listen: (address: string) => ({ listen: address }),
    'admin.listen': (address: string) => ({ admin: { listen: address } }),
  })) {
    it(`says in one line that ${key} is taken, and leaves nothing open`, async () => {
      await using dir = await tempDir()
      await using taken = createServer()
      await listen(taken, { host: '127.0.0.1', port: 0 })
      const address = `127.0.0.1:${(taken.address() as { port: number }).port}`
      const settings = { upstreams, path: dir.path }
      await assert.rejects(startMirror({ ...settings, config: config(address) }), {
        message: `cannot listen on ${address}: another process listens there`,
      })
      await using _again = await startMirror(settings)
    })
  }

  it('says in one line that the data folder cannot be used', async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'file')
    await writeFile(file, '')
    await assert.rejects(startMirror({ upstreams, path: file }), ({ message }: Error) => {
      assert.match(message, /^[^\n]+$/)
      return message.includes(file)
    })
    const version = join(dir.path, 'newer')
    await mkdir(version)
    await writeFile(join(version, 'version'), '99\n')
    await assert.rejects(startMirror({ upstreams, path: version }), /newer has layout version 99/)
    await using _first = await startMirror({ upstreams, path: join(dir.path, 'data') })
    await assert.rejects(startMirror({ upstreams, path: join(dir.path, 'data') }), {
      message: `data folder ${join(dir.path, 'data')} is in use by another entrepot process`,
    })
  })
})
