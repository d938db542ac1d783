import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { appendFile, rm, truncate } from 'node:fs/promises'
import { Agent } from 'node:http'
import { describe, it } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import { call } from '../../support/admin-client.ts'
import { open } from '../../support/client.ts'
import { agent, fastDate, teach, warm } from '../../support/fast-path.ts'
import {
  added,
  allClosed,
  ask,
  filesOf,
  isFast,
  type Line,
  lineOf,
  repository,
  type Stored,
  same,
  start,
  store,
  storeKnown,
} from '../../support/fast-path-blobs.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { openSockets } from '../../support/open-files.ts'
import type { Stage } from '../../support/stage.ts'
import { until } from '../../support/wait.ts'
import { Wire, type WireAnswer } from '../../support/wire.ts'

const hang = { timeout: 300_000 }
const MB = 1_000_000
const { manifest, config } = added
const byDigest = `/v2/${repository}/manifests/${manifest.digest}`
const smallBlob = `/v2/${repository}/blobs/${config.digest}`

/** More than the kernel takes for a client that does not read. */
const huge = Buffer.alloc(40 * MB, randomBlob(1_000_003))

function textOf(line: string): string {
  const fields = Object.entries({ host: 'mirror.test', ...agent }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${line} HTTP/1.1\r\n${fields.join('')}\r\n`
}

/** A client that has asked for a blob and does not read, while its body is on its way. */
async function reluctant(stage: Stage, { path }: Stored): Promise<Wire> {
  const wire = await Wire.open(stage.mirror.url)
  wire.pause()
  wire.request(`GET ${path}`, agent)
  await until(async () => (await filesOf(stage)) > 0, 'the body to begin')
  return wire
}

/** Enough turns of the event loop that both sides share, for what was sent before to be seen. */
async function noticed({ mirror }: Stage): Promise<void> {
  using wire = await Wire.open(mirror.url)
  for (let turn = 0; turn < 3; turn += 1) {
    wire.request('GET /v2/')
    await wire.answer()
  }
}

function fetches({ upstream }: Stage): number {
  return upstream.count({ kind: 'blob', method: 'GET' })
}

async function responsesOf({ mirror }: Stage): Promise<number> {
  const text = await (await fetch(`${mirror.adminUrl}/metrics`)).text()
  return Number(/^entrepot_http_responses_total\{code="2xx"\} (\d+)$/m.exec(text)?.[1])
}

describe('a stored blob from the fast path', hang, () => {
  for (const { name, prefix = '', host = '', query = '' } of [
    { name: 'as it is' },
    { name: 'below a base path', prefix: '/mirror' },
    { name: 'by a namespace', query: '?ns=docker.io' },
    { name: "by the upstream's other name", query: '?ns=registry-1.docker.io' },
    { name: 'with its upstream in the path', host: 'docker.io/' },
  ]) {
    for (const size of [65_537, 3 * MB]) {
      it(`of ${size} bytes is what node:http sends, byte for byte, ${name}`, async () => {
        await using stage = await start(prefix === '' ? {} : { config: { basePath: prefix } })
        const { digest } = await store(stage, randomBlob(size, 3), prefix)
        await stage.restart()
        const line = `GET ${prefix}/v2/${host}${repository}/blobs/${digest}${query}`
        const [first, second, third, fourth] = [
          await ask(stage, line),
          await ask(stage, line),
          await ask(stage, line),
          await ask(stage, line),
        ]
        // By the ordinary way, which has to look; by the short one, which knows; and by the fast path.
        assert.deepEqual([first, second, third, fourth].map(isFast), [false, false, true, true])
        for (const answer of [second, third, fourth]) assert.equal(same(answer), same(second))
        assert.deepEqual(same(first).split('\r\n').sort(), same(second).split('\r\n').sort())
        for (const { body } of [first, second, third, fourth]) assert.equal(digestOf(body), digest)
        assert.equal(new Set([first, second, third, fourth].map(({ headers }) => headers['x-request-id'])).size, 4)
        await allClosed(stage)
      })
    }
  }

  it('is dated anew', async () => {
    await using stage = await start()
    const { path, digest } = await storeKnown(stage, randomBlob(100_000, 4))
    using wire = await Wire.open(stage.mirror.url)
    for (const seconds of [0, 1, 61]) {
      stage.clock.now = Date.UTC(2026, 0, 1) + seconds * 1000
      wire.request(`GET ${path}`, agent)
      const answer = await wire.answer()
      assert.equal(answer?.headers['date'], new Date(stage.clock.now).toUTCString())
      assert.equal(digestOf(answer.body), digest)
    }
  })

  it('leaves the connection to the next one, of whatever kind', async () => {
    await using stage = await start()
    const blobs = [
      await storeKnown(stage, randomBlob(65_537, 5)),
      await storeKnown(stage, randomBlob(300_000, 6)),
      await storeKnown(stage, randomBlob(5 * MB, 7)),
    ]
    await warm(stage, [byDigest, smallBlob])
    const known = [
      { line: `GET ${byDigest}`, body: manifest.body },
      { line: `HEAD ${byDigest}`, body: Buffer.alloc(0) },
      { line: `GET ${smallBlob}`, body: config.body },
      { line: 'GET /v2/', body: Buffer.from('{}') },
    ]
    for (const { line } of known) await teach(stage, line)
    using wire = await Wire.open(stage.mirror.url)
    for (const { path, body } of [...blobs, ...blobs.toReversed()]) {
      for (const next of [{ line: `GET ${path}`, body }, { line: `GET ${path}`, body }, ...known]) {
        wire.request(next.line, agent)
        const answer = await wire.answer(next.line.split(' ')[0])
        assert.ok(isFast(answer), next.line)
        assert.ok(answer?.body.equals(next.body), next.line)
      }
    }
    assert.equal(wire.rest, '')
    await allClosed(stage)
  })

  it('is whole for each of several clients at once', async () => {
    await using stage = await start()
    const { path, digest } = await storeKnown(stage, randomBlob(5 * MB, 8))
    const answers = await Promise.all(Array.from({ length: 8 }, () => ask(stage, `GET ${path}`)))
    assert.ok(answers.every((answer) => isFast(answer) && digestOf(answer.body) === digest))
    assert.equal(fetches(stage), 1)
  })

  it('keeps what is asked meanwhile until it has left, and answers that in turn', async () => {
    await using stage = await start()
    const stored = await storeKnown(stage, huge)
    await warm(stage, [byDigest])
    await teach(stage, `GET ${byDigest}`)
    const [next, again] = [textOf(`GET ${byDigest}`), textOf(`GET ${stored.path}`)]
    const absent = textOf(`GET /v2/${repository}/manifests/absent`)
    const found = { status: 200, digest: manifest.digest, isFast: true }
    const foundByHttp = { ...found, isFast: false }
    const repeated = { status: 200, digest: stored.digest, isFast: true }
    for (const { pieces, answers } of [
      { pieces: [next], answers: [found] },
      { pieces: [again, next], answers: [repeated, found] },
      { pieces: [next, next, next], answers: [found, found, found] },
      { pieces: [next + next], answers: [foundByHttp, foundByHttp] },
      { pieces: [next, absent, next], answers: [found, { status: 404 }, foundByHttp] },
      { pieces: [next.slice(0, 40), next.slice(40) + absent], answers: [foundByHttp, { status: 404 }] },
    ]) {
      using wire = await reluctant(stage, stored)
      for (const piece of pieces) {
        wire.send(piece)
        await noticed(stage)
      }
      wire.resume()
      const first = await wire.answer()
      assert.ok(isFast(first) && first?.body.equals(stored.body))
      for (const expected of answers) {
        const { status, headers, body } = (await wire.answer()) ?? assert.fail('no answer')
        const seen = { status, digest: digestOf(body), isFast: headers['date'] === fastDate }
        assert.deepEqual(status === 404 ? { status } : seen, expected)
      }
      wire.request(`GET ${byDigest}`, agent)
      assert.ok((await wire.answer())?.body.equals(manifest.body))
      assert.equal(wire.rest, '')
    }
    await allClosed(stage)
  })

  it('comes by node:http where two are asked for at once', async () => {
    await using stage = await start()
    const { path, digest } = await storeKnown(stage, randomBlob(2 * MB, 9))
    using wire = await Wire.open(stage.mirror.url)
    wire.send(textOf(`GET ${path}`) + textOf(`GET ${path}`))
    for (let count = 0; count < 2; count += 1) {
      const answer = await wire.answer()
      assert.deepEqual([isFast(answer), answer && digestOf(answer.body)], [false, digest])
    }
    assert.equal(wire.rest, '')
  })

  for (const when of ['at once', 'while it is sent']) {
    it(`is whole for a client that says no more ${when}, and then the connection ends`, async () => {
      await using stage = await start()
      const stored = await storeKnown(stage, huge)
      const wire = when === 'at once' ? await Wire.open(stage.mirror.url) : await reluctant(stage, stored)
      using _wire = wire
      if (when === 'at once') wire.request(`GET ${stored.path}`, agent)
      wire.end()
      if (when !== 'at once') await noticed(stage)
      wire.resume()
      const answer = await wire.answer()
      assert.ok(isFast(answer) && answer?.body.equals(huge))
      await wire.closed()
      assert.equal(wire.rest, '')
      assert.equal((await lineOf(stage, answer ?? assert.fail()))['aborted'], undefined)
    })
  }

  it('is followed by what was asked for before a client said no more, and then the connection ends', async () => {
    await using stage = await start()
    const stored = await storeKnown(stage, huge)
    await warm(stage, [byDigest])
    await teach(stage, `GET ${byDigest}`)
    for (const { path, body } of [{ path: byDigest, body: manifest.body }, stored]) {
      using wire = await reluctant(stage, stored)
      wire.send(textOf(`GET ${path}`))
      await noticed(stage)
      wire.end()
      await noticed(stage)
      wire.resume()
      for (const expected of [huge, body]) {
        const answer = await wire.answer()
        assert.ok(isFast(answer) && answer?.body.equals(expected))
      }
      await wire.closed()
      assert.equal(wire.rest, '')
    }
  })
})

describe('what is told of a stored blob from the fast path', hang, () => {
  it('is that it was used: what was used longer ago goes before it', async () => {
    await using stage = await start({ config: { storage: { maxSize: '8MiB' } } })
    const used = await storeKnown(stage, randomBlob(3 * MB, 16))
    stage.clock.now += 600_000
    const other = await store(stage, randomBlob(3 * MB, 17))
    stage.clock.now += 600_000
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET ${used.path}`, agent)
    assert.equal((await wire.answer())?.headers['date'], new Date(stage.clock.now).toUTCString())
    stage.clock.now += 600_000
    await store(stage, randomBlob(3 * MB, 18))
    assert.deepEqual([existsSync(used.file), existsSync(other.file)], [true, false])
  })

  it('is told in the log as of node:http', async () => {
    await using stage = await start()
    const stored = await store(stage, randomBlob(200_000, 10))
    const [first, second] = [await ask(stage, `GET ${stored.path}`), await ask(stage, `GET ${stored.path}`)]
    assert.deepEqual([isFast(first), isFast(second)], [false, true])
    const { requestId: _id, ...fields } = await lineOf(stage, second)
    const { requestId: _other, ...expected } = await lineOf(stage, first)
    assert.deepEqual(fields, expected)
    assert.deepEqual(Object.keys(fields), Object.keys(expected))
    const { outcome, status, bytes, aborted, error, userAgent, client } = fields
    assert.deepEqual(
      { outcome, status, bytes, aborted, error, userAgent, client },
      {
        outcome: 'hit',
        status: 200,
        bytes: 200_000,
        aborted: undefined,
        error: undefined,
        userAgent: agent['user-agent'],
        client: '127.0.0.1',
      },
    )
  })

  it('is counted, as an answer, its bytes and a response', async () => {
    await using stage = await start()
    const { path } = await storeKnown(stage, randomBlob(200_000, 11))
    const before = await stage.mirror.stats()
    const responses = await responsesOf(stage)
    for (let count = 0; count < 3; count += 1) assert.ok(isFast(await ask(stage, `GET ${path}`)))
    await until(async () => (await responsesOf(stage)) === responses + 3, 'the responses to be counted')
    const after = await stage.mirror.stats()
    assert.equal(after.requests.blob.hit - before.requests.blob.hit, 3)
    assert.equal(after.bytes.served - before.bytes.served, 600_000)
  })

  for (const how of ['is reset', 'ends'] as const) {
    for (const via of ['the fast path', 'node:http'] as const) {
      it(`is that the client left, where its connection ${how} in the middle, by ${via}`, async () => {
        await using stage = await start()
        const stored = await storeKnown(stage, huge)
        const before = await openSockets()
        const wire = await Wire.open(stage.mirror.url)
        wire.request(`GET ${stored.path}`, via === 'the fast path' ? agent : { ...agent, 'x-other': 'yes' })
        await until(() => wire.waiting > MB, 'some of the body')
        wire.pause()
        if (how === 'ends') wire[Symbol.dispose]()
        else wire.reset()
        const line = await until(() => stage.mirror.log.findLast(({ aborted }) => aborted), 'the line')
        const { reference, status, outcome, level, error, bytes } = line
        assert.deepEqual(
          { reference, status, outcome, level, error },
          { reference: stored.digest, status: 200, outcome: 'hit', level: 'info', error: undefined },
        )
        assert.ok(Number(bytes) > MB && Number(bytes) < huge.length, `${bytes} bytes`)
        await allClosed(stage)
        // Others may end meanwhile, that were idle before.
        await until(async () => (await openSockets()) <= before, 'the connection to be closed')
      })
    }
  }

  for (const size of [65_537, 200_000, 5 * MB]) {
    it(`is never that the client left, where it did so with all ${size} bytes of it`, async () => {
      await using stage = await start()
      const stored = await storeKnown(stage, randomBlob(size, 12))
      const answers: WireAnswer[] = []
      for (let round = 0; round < 40; round += 1) {
        const wire = await Wire.open(stage.mirror.url)
        wire.request(`GET ${stored.path}`, agent)
        const answer = (await wire.answer()) ?? assert.fail('no answer')
        if (round % 2 === 0) wire[Symbol.dispose]()
        else wire.reset()
        assert.ok(isFast(answer) && answer.body.equals(stored.body))
        answers.push(answer)
      }
      for (const answer of answers) {
        const { bytes, aborted, error } = await lineOf(stage, answer)
        assert.deepEqual([bytes, aborted, error], [size, undefined, undefined])
      }
      await allClosed(stage)
    })
  }

  for (const via of ['the fast path', 'node:http'] as const) {
    it(`is what failed, where its file becomes shorter meanwhile, and it is cut by FIN, by ${via}`, async () => {
      await using stage = await start()
      const { path, file } = await store(stage, huge)
      const client = new Agent({ keepAlive: true })
      const headers = via === 'the fast path' ? agent : { ...agent, 'x-other': 'yes' }
      const options = { agent: client, headers }
      const url = `${stage.mirror.url}${path}`
      await using first = await open(url, options)
      await first.read(huge.length)
      await using second = await open(url, options)
      assert.equal(second.headers.date === fastDate, via === 'the fast path')
      await second.read(MB)
      await truncate(file, 38 * MB)
      let bytes = MB
      for (let chunk = await second.some(); chunk; chunk = await second.some()) bytes += chunk.length
      assert.deepEqual([bytes, second.complete, second.closedBy], [38 * MB, false, 'fin'])
      const line = await until(() => stage.mirror.log.find(({ error, msg }) => msg === 'request' && error), 'the line')
      assert.match(String((line['error'] as Line)['message']), /ended at 38000000/)
      assert.deepEqual([line['bytes'], line['aborted'], line['outcome']], [38 * MB, undefined, 'hit'])
      await allClosed(stage)
      client.destroy()
    })
  }

  it('is nothing of what was asked meanwhile, where it failed: that is not answered', async () => {
    await using stage = await start()
    const stored = await storeKnown(stage, huge)
    await warm(stage, [byDigest])
    await teach(stage, `GET ${byDigest}`)
    using wire = await reluctant(stage, stored)
    wire.send(textOf(`GET ${byDigest}`))
    await noticed(stage)
    const answered = async () => (await stage.mirror.stats()).requests.manifest.hit
    const before = await answered()
    await truncate(stored.file, 38 * MB)
    wire.resume()
    await assert.rejects(wire.answer(), /ended 2000000 bytes early/)
    await allClosed(stage)
    await noticed(stage)
    assert.equal(await answered(), before)
  })
})

describe('a client that takes nothing from the fast path', hang, () => {
  it('is cut after its time, and that is told as its leaving', async () => {
    await using stage = await start({ config: { timeouts: { client: '100ms' } } })
    const stored = await storeKnown(stage, huge)
    using wire = await reluctant(stage, stored)
    const line = await until(() => stage.mirror.log.find(({ aborted }) => aborted), 'the line')
    const { reference, status, error } = line
    assert.deepEqual([reference, status, error], [stored.digest, 200, undefined])
    assert.ok(Number(line['bytes']) < huge.length)
    await allClosed(stage)
    wire.resume()
    await assert.rejects(wire.answer(), /ended \d+ bytes early/)
  })

  it('has what it asked for kept from eviction while it is sent, and no longer', async () => {
    await using stage = await start({ config: { storage: { maxSize: '60MiB' } } })
    const stored = await storeKnown(stage, huge)
    stage.clock.now += 600_000
    const other = Buffer.alloc(30 * MB, randomBlob(1_000_003, 2))
    const path = `/v2/${repository}/blobs/${stage.upstream.addBlob(repository, other)}`
    using wire = await reluctant(stage, stored)
    assert.equal((await stage.get(path, { keep: 0 })).digest, digestOf(other))
    await until(() => stage.mirror.log.some(({ msg }) => msg === 'fill ended'), 'the fill to end')
    await noticed(stage)
    assert.ok(existsSync(stored.file))
    wire.reset()
    await allClosed(stage)
    await store(stage, other)
    assert.ok(!existsSync(stored.file))
  })

  it('gets all of what is purged meanwhile', async () => {
    await using stage = await start()
    const stored = await storeKnown(stage, huge)
    using wire = await reluctant(stage, stored)
    assert.equal((await call(`${stage.mirror.adminUrl}/api/blobs/${stored.digest}`, 'DELETE')).status, 200)
    assert.ok(!existsSync(stored.file))
    wire.resume()
    const answer = await wire.answer()
    assert.ok(isFast(answer) && answer?.body.equals(huge))
    await allClosed(stage)
    assert.equal((await ask(stage, `GET ${stored.path}`)).headers['cache-status'], 'entrepot; fwd=uri-miss; stored')
  })

  it('does not keep it from being purged after it has left', async () => {
    await using stage = await start()
    const stored = await storeKnown(stage, huge)
    const wire = await reluctant(stage, stored)
    wire.reset()
    await allClosed(stage)
    const { json } = await call(`${stage.mirror.adminUrl}/api/blobs/${stored.digest}`, 'DELETE')
    assert.equal(json['blobs'], 1)
    assert.ok(!existsSync(stored.file))
  })
})

describe('stopping while a stored blob leaves by the fast path', hang, () => {
  it('waits until all of it has left, answers nothing more, and ends the connection', async () => {
    await using stage = await start({ config: { timeouts: { shutdown: '60s' } } })
    const stored = await storeKnown(stage, huge)
    using fresh = await Wire.open(stage.mirror.url)
    fresh.request('GET /v2/', agent)
    await fresh.answer()
    using wire = await reluctant(stage, stored)
    const { log } = stage.mirror
    const stopped = stage.mirror.stop()
    await fresh.closed()
    wire.request(`GET ${stored.path}`, agent)
    wire.resume()
    const answer = await wire.answer()
    assert.ok(isFast(answer) && answer?.body.equals(huge))
    await Promise.all([wire.closed(), stopped])
    assert.equal(wire.rest, '')
    const line = log.findLast(({ reference }) => reference === stored.digest)
    assert.deepEqual([line?.['bytes'], line?.['aborted']], [huge.length, undefined])
  })

  it('lets it be asked for by a connection that was just opened', async () => {
    await using stage = await start({ config: { timeouts: { shutdown: '60s' } } })
    const stored = await storeKnown(stage, randomBlob(5 * MB, 13))
    using answered = await Wire.open(stage.mirror.url)
    answered.request('GET /v2/', agent)
    await answered.answer()
    using wire = await Wire.open(stage.mirror.url)
    await noticed(stage)
    const stopped = stage.mirror.stop()
    await answered.closed()
    wire.request(`GET ${stored.path}`, agent)
    const answer = await wire.answer()
    assert.ok(isFast(answer) && answer?.body.equals(stored.body))
    await Promise.all([wire.closed(), stopped])
  })

  it('cuts it where it does not end in time', async () => {
    await using stage = await start({ config: { timeouts: { shutdown: '50ms' } } })
    const stored = await storeKnown(stage, huge)
    using wire = await reluctant(stage, stored)
    const { log } = stage.mirror
    await stage.mirror.stop()
    wire.resume()
    await assert.rejects(wire.answer(), /ended \d+ bytes early/)
    const line = log.findLast(({ reference }) => reference === stored.digest)
    assert.deepEqual([line?.['aborted'], line?.['error']], [true, undefined])
    await allClosed(stage)
  })
})

describe('of a stored blob the fast path does not answer', hang, () => {
  const body = randomBlob(200_000, 14)

  async function startKnown(): Promise<{ stage: Stage; stored: Stored } & AsyncDisposable> {
    const stage = await start()
    const stored = await storeKnown(stage, body)
    return { stage, stored, [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose]() }
  }

  for (const { name, line = 'GET', headers = {}, status, part } of [
    { name: 'HEAD', line: 'HEAD', status: 200, part: Buffer.alloc(0) },
    { name: 'a condition', headers: { 'if-none-match': `"${digestOf(body)}"` }, status: 304, part: Buffer.alloc(0) },
  ]) {
    it(name, async () => {
      await using known = await startKnown()
      const { stage, stored } = known
      for (let count = 0; count < 3; count += 1) {
        const answer = await ask(stage, `${line} ${stored.path}`, headers)
        assert.deepEqual([isFast(answer), answer.status], [false, status])
        assert.ok(answer.body.equals(part))
        if (line === 'HEAD') assert.equal(answer.headers['content-length'], `${body.length}`)
        await allClosed(stage)
      }
      assert.ok(isFast(await ask(stage, `GET ${stored.path}`)))
    })
  }

  it('HTTP/1.0', async () => {
    await using known = await startKnown()
    const { stage, stored } = known
    for (let count = 0; count < 3; count += 1) {
      using wire = await Wire.open(stage.mirror.url)
      wire.send(`GET ${stored.path} HTTP/1.0\r\n\r\n`)
      const answer = await wire.answer()
      assert.deepEqual([isFast(answer), answer?.body.equals(body)], [false, true])
      await wire.closed()
    }
  })

  it('what has been purged, nor what is being filled', async () => {
    await using known = await startKnown()
    const { stage, stored } = known
    const { path } = stored
    assert.ok(isFast(await ask(stage, `GET ${path}`)))
    await call(`${stage.mirror.adminUrl}/api/blobs/${stored.digest}`, 'DELETE')
    const gate = new Gate()
    stage.upstream.fault({ kind: 'blob', method: 'GET' }, { gate, gateAt: 100_000, times: 1 })
    const first = ask(stage, `GET ${path}`)
    await gate.arrived()
    const others = [ask(stage, `GET ${path}`), ask(stage, `GET ${path}`)]
    await noticed(stage)
    gate.open()
    for (const answer of await Promise.all([first, ...others])) {
      assert.deepEqual([isFast(answer), answer.body.equals(body)], [false, true])
    }
    assert.equal((await first).headers['cache-status'], 'entrepot; fwd=uri-miss; stored')
    assert.equal(fetches(stage), 2)
    // Known from its fill alone.
    await until(async () => isFast(await ask(stage, `GET ${path}`)), 'the fast path to know it again')
    assert.equal(fetches(stage), 2)
  })

  for (const [name, damage] of Object.entries({
    'cut short': (file: string) => truncate(file, 150_000),
    'cut to nothing': (file: string) => truncate(file, 0),
    grown: (file: string) => appendFile(file, 'x'),
    gone: (file: string) => rm(file),
  })) {
    it(`what is ${name} on the disk, which is fetched anew`, async () => {
      await using known = await startKnown()
      const { stage, stored } = known
      using wire = await Wire.open(stage.mirror.url)
      wire.request(`GET ${stored.path}`, agent)
      assert.ok(isFast(await wire.answer()))
      // With this its size has been recorded.
      await stage.mirror.stats()
      await damage(stored.file)
      wire.request(`GET ${stored.path}`, agent)
      const answer = await wire.answer()
      assert.deepEqual([isFast(answer), answer?.body.equals(body)], [false, true])
      assert.equal(fetches(stage), 2)
      await until(async () => isFast(await ask(stage, `GET ${stored.path}`)), 'the fast path to know it again')
      assert.ok((await ask(stage, `GET ${stored.path}`)).body.equals(body))
      assert.equal(fetches(stage), 2)
      await allClosed(stage)
    })
  }

  it('what is cut short right after it was stored, before its size has been recorded', async () => {
    await using known = await startKnown()
    const { stage, stored } = known
    await truncate(stored.file, 150_000)
    const answer = await ask(stage, `GET ${stored.path}`)
    assert.equal(answer.body.length, body.length)
    assert.equal(fetches(stage), 2)
  })

  it('through a repository that has not been shown to hold it', async () => {
    await using known = await startKnown()
    const { stage, stored } = known
    const path = `/v2/library/other/blobs/${stored.digest}`
    for (let count = 0; count < 3; count += 1) assert.equal((await ask(stage, `GET ${path}`)).status, 404)
    stage.upstream.addBlob('library/other', body)
    // A HEAD's 404 is confirmed by a GET, as long as no HEAD has found anything.
    const fetched = fetches(stage)
    const asked = stage.upstream.count({ kind: 'blob' })
    const answers = [await ask(stage, `GET ${path}`), await ask(stage, `GET ${path}`), await ask(stage, `GET ${path}`)]
    assert.deepEqual(answers.map(isFast), [false, false, true])
    assert.ok(answers.every((answer) => answer.body.equals(body)))
    assert.equal(fetches(stage), fetched)
    assert.equal(stage.upstream.count({ kind: 'blob' }) - asked, 1)
  })

  it('what is small: that comes from memory, and needs no file', async () => {
    await using stage = await start()
    const small = await store(stage, randomBlob(65_536, 15))
    await warm(stage, [small.path])
    assert.equal(await teach(stage, `GET ${small.path}`), false)
    const large = await storeKnown(stage, randomBlob(65_537, 15))
    await rm(small.file)
    await rm(large.file)
    const answer = await ask(stage, `GET ${small.path}`)
    assert.ok(isFast(answer) && answer.body.equals(small.body))
    assert.ok(!isFast(await ask(stage, `GET ${large.path}`)))
    assert.equal(fetches(stage), 3)
  })
})
