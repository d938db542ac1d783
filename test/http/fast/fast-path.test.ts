import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FastPath, type FastPathOptions } from '../../../src/http/fast/fast-path.ts'
import { call } from '../../support/admin-client.ts'
import { agent, fastDate, teach, warm } from '../../support/fast-path.ts'
import { image, randomBlob } from '../../support/image.ts'
import { Stage, type StageOptions } from '../../support/stage.ts'
import { until } from '../../support/wait.ts'
import { Wire } from '../../support/wire.ts'

const minute = 60_000
const added = image()
const { manifest, config } = added
const latest = '/v2/library/alpine/manifests/latest'
const byDigest = `/v2/library/alpine/manifests/${manifest.digest}`
const blob = `/v2/library/alpine/blobs/${config.digest}`

/** A mirror whose memory holds the image. */
async function start(options: StageOptions = {}, prefix = ''): Promise<Stage> {
  const stage = await Stage.start(options)
  stage.upstream.addImage('library/alpine', 'latest', added)
  await warm(
    stage,
    [latest, byDigest, blob].map((path) => `${prefix}${path}`),
  )
  return stage
}

/** The bytes of the next answer. */
async function raw(wire: Wire): Promise<string> {
  await until(() => {
    const [head = '', body] = wire.rest.split(/\r\n\r\n(.*)/s, 2)
    const length = /^content-length: (\d+)$/im.exec(head)?.[1]
    return wire.ended || (body !== undefined && (body === '' || body.length === Number(length)))
  }, 'the answer')
  return wire.rest
}

interface Ask {
  readonly stage: Stage
  readonly line: string
  readonly headers?: Readonly<Record<string, string>>
}

/** One request over a connection of its own. */
async function ask({ stage, line, headers = agent }: Ask): Promise<string> {
  using wire = await Wire.open(stage.mirror.url)
  wire.request(line, headers)
  return await raw(wire)
}

function isFast(answer: string): boolean {
  return answer.includes(`Date: ${fastDate}\r\n`)
}

/** Without what must differ. */
function same(answer: string): string {
  return answer.replace(/^Date: .*$/m, 'Date').replace(/^X-Request-Id: .*$/m, 'X-Request-Id')
}

describe('an answer of the fast path', () => {
  for (const method of ['GET', 'HEAD']) {
    for (const path of [
      '/v2/',
      latest,
      byDigest,
      blob,
      `${latest}?ns=docker.io`,
      `${blob}?ns=registry-1.docker.io`,
      `/v2/docker.io/library/alpine/manifests/latest`,
    ]) {
      it(`is what node:http would have sent, byte for byte: ${method} ${path.replace(/sha256:.*/, '…')}`, async () => {
        await using stage = await start()
        stage.clock.now += 7000
        const first = await ask({ stage, line: `${method} ${path}` })
        stage.clock.now -= 7000
        using wire = await Wire.open(stage.mirror.url)
        stage.clock.now += 7000
        wire.request(`${method} ${path}`, agent)
        const second = await raw(wire)
        const date = new Date(stage.clock.now).toUTCString()
        assert.ok(second.includes(`\r\nDate: ${date}\r\n`) && !first.includes(date), 'answered by the fast path')
        assert.equal(same(second), same(first))
      })
    }
  }

  it('is learned from any request that node:http answered, the later ones of a connection too', async () => {
    await using stage = await start()
    using first = await Wire.open(stage.mirror.url)
    first.request('GET /v2/library/alpine/tags/list', agent)
    await first.answer()
    first.request(`GET ${byDigest}`, agent)
    assert.equal((await first.answer())?.status, 200)
    assert.ok(isFast(await ask({ stage, line: `GET ${byDigest}` })))
  })

  it('is not given to another spelling of the same, which the parser reads again', async () => {
    await using stage = await start()
    await teach(stage, `GET ${byDigest}`)
    for (const text of [
      `GET ${byDigest} HTTP/1.1\r\nHost:mirror.test\r\n\r\n`,
      `GET ${byDigest} HTTP/1.1\r\nHost: mirror.test \r\n\r\n`,
      `\r\nGET ${byDigest} HTTP/1.1\r\nHost: mirror.test\r\n\r\n`,
    ]) {
      for (let time = 0; time < 2; time += 1) {
        using wire = await Wire.open(stage.mirror.url)
        wire.send(text)
        assert.ok(!isFast(await raw(wire)))
      }
    }
  })

  it('is the same below a base path', async () => {
    await using stage = await start({ config: { basePath: '/mirror' } }, '/mirror')
    const line = `GET /mirror${latest}`
    const first = await ask({ stage, line })
    const second = await ask({ stage, line })
    assert.deepEqual([isFast(first), isFast(second), same(second)], [false, true, same(first)])
    assert.ok((await ask({ stage, line: `GET ${latest}` })).startsWith('HTTP/1.1 404'))
  })

  it('has the bytes of a body that is no text', async () => {
    await using stage = await start()
    const body = randomBlob(5000, 7)
    const line = `GET /v2/library/alpine/blobs/${stage.upstream.addBlob('library/alpine', body)}`
    await warm(stage, [line.slice(4)])
    await teach(stage, line)
    const answer = await ask({ stage, line })
    assert.ok(isFast(answer))
    assert.ok(answer.endsWith(`\r\n\r\n${body.toString('latin1')}`))
  })

  it('tells the age of a tag, and its own date', async () => {
    await using stage = await start()
    await teach(stage, `GET ${latest}`)
    using wire = await Wire.open(stage.mirror.url)
    for (const [age, date] of [
      [0, fastDate],
      [0, fastDate],
      [1, 'Thu, 01 Jan 2026 00:00:01 GMT'],
      [61, 'Thu, 01 Jan 2026 00:01:01 GMT'],
    ] as const) {
      stage.clock.now = Date.UTC(2026, 0, 1) + age * 1000
      wire.request(`GET ${latest}`, agent)
      const answer = await wire.answer()
      assert.deepEqual([answer?.headers['age'], answer?.headers['date']], [`${age}`, date])
      assert.ok(answer?.body.equals(manifest.body))
    }
  })

  it('has an id of its own', async () => {
    await using stage = await start()
    await teach(stage, `GET ${latest}`)
    using wire = await Wire.open(stage.mirror.url)
    const ids = new Set()
    for (let count = 1; count < 100; count += 1) {
      wire.request(`GET ${latest}`, agent)
      ids.add((await wire.answer())?.headers['x-request-id'])
      assert.equal(ids.size, count)
    }
  })

  it("is node:http's where the manifest has more than 64 KiB, whole, and counts once", async () => {
    await using stage = await start()
    const large = image({ annotations: { large: 'x'.repeat(1_000_000) } })
    stage.upstream.addImage('library/alpine', 'large', large)
    const line = `GET /v2/library/alpine/manifests/${large.manifest.digest}`
    await warm(stage, [line.slice(4)])
    const before = (await stage.mirror.stats()).requests.manifest.hit
    const answers = []
    for (let count = 0; count < 4; count += 1) answers.push(await ask({ stage, line }))
    for (const answer of answers) assert.ok(answer.endsWith(`\r\n\r\n${large.manifest.body}`))
    assert.ok(!answers.some(isFast))
    assert.equal((await stage.mirror.stats()).requests.manifest.hit - before, 4)
  })

  it('carries on where the next request is for something else that is known', async () => {
    await using stage = await start()
    const lines = ['GET /v2/', `HEAD ${latest}`, `GET ${byDigest}`, `GET ${blob}`]
    for (const line of lines) await teach(stage, line)
    using wire = await Wire.open(stage.mirror.url)
    for (const line of [...lines, ...lines]) {
      wire.request(line, agent)
      const answer = await wire.answer(line.split(' ')[0])
      assert.deepEqual([answer?.status, answer?.headers['date']], [200, fastDate])
    }
  })
})

describe('what the fast path does not answer', () => {
  for (const [name, headers] of Object.entries({
    'a condition': { 'if-none-match': '"a"' },
    'a range': { range: 'bytes=0-' },
    'a login': { authorization: 'Basic c2VzYW1l' },
    'a body of no bytes': { 'content-length': '0' },
    'an expectation': { expect: 'miracles' },
    'a connection that ends': { connection: 'close' },
  })) {
    it(`is a head with ${name}`, async () => {
      await using stage = await start()
      for (let count = 0; count < 3; count += 1) {
        assert.ok(!isFast(await ask({ stage, line: `GET ${latest}`, headers: { ...agent, ...headers } })))
      }
    })
  }

  for (const [name, text] of Object.entries({
    'HTTP/1.0': `GET ${latest} HTTP/1.0\r\nHost: a\r\n\r\n`,
    'without a space': `GET ${latest} HTTP/1.1\r\nHost:a\r\n\r\n`,
    'with an empty line before': `\r\nGET ${latest} HTTP/1.1\r\nHost: a\r\n\r\n`,
  })) {
    it(`is a head ${name}`, async () => {
      await using stage = await start()
      for (let count = 0; count < 3; count += 1) {
        using wire = await Wire.open(stage.mirror.url)
        wire.send(text)
        assert.ok(!isFast(await raw(wire)))
      }
    })
  }

  it('is a head that differs by one byte', async () => {
    await using stage = await start()
    await teach(stage, `GET ${latest}`)
    assert.ok(!isFast(await ask({ stage, line: `GET ${latest}`, headers: { ...agent, accept: '*/ *' } })))
    assert.ok(!isFast(await ask({ stage, line: `GET ${latest}?` })))
    assert.ok(isFast(await ask({ stage, line: `GET ${latest}` })))
  })

  it('is a tag that is too old: node:http confirms it, and for later connections it is fresh', async () => {
    await using stage = await start()
    await teach(stage, `GET ${latest}`)
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET ${latest}`, agent)
    assert.equal((await wire.answer())?.headers['date'], fastDate)
    stage.clock.now += 5 * minute
    wire.request(`GET ${latest}`, agent)
    const answer = await wire.answer()
    assert.equal(answer?.headers['cache-status'], 'entrepot; fwd=stale; fwd-status=304')
    assert.ok(answer.body.equals(manifest.body))
    const now = new Date(stage.clock.now).toUTCString()
    wire.request(`GET ${latest}`, agent)
    assert.notEqual((await wire.answer())?.headers['date'], now)
    assert.ok((await ask({ stage, line: `GET ${latest}` })).includes(`\r\nDate: ${now}\r\n`))
  })

  it('is a tag that has moved: the fast path tells the new manifest', async () => {
    await using stage = await start()
    await teach(stage, `GET ${latest}`)
    const next = image({ config: { n: 2 } })
    stage.upstream.addImage('library/alpine', 'latest', next)
    stage.clock.now += 5 * minute
    await stage.get(latest)
    const answer = await ask({ stage, line: `GET ${latest}` })
    assert.ok(answer.includes(`Date: ${new Date(stage.clock.now).toUTCString()}\r\n`))
    assert.ok(answer.endsWith(next.manifest.body.toString('latin1')))
    assert.ok(answer.includes(`\r\nETag: "${next.manifest.digest}"\r\n`))
  })

  it('is what has been purged', async () => {
    await using stage = await start()
    for (const path of [latest, byDigest, blob]) await teach(stage, `GET ${path}`)
    using wire = await Wire.open(stage.mirror.url)
    wire.request(`GET ${blob}`, agent)
    assert.equal((await wire.answer())?.headers['date'], fastDate)
    const purged = await call(`${stage.mirror.adminUrl}/api/repositories/docker.io/library/alpine`, 'DELETE')
    assert.equal(purged.status, 200)
    for (const path of [blob, latest, byDigest]) {
      wire.request(`GET ${path}`, agent)
      const { status, headers } = (await wire.answer()) ?? {}
      assert.equal(status, 200)
      if (path !== byDigest) assert.equal(headers?.['cache-status'], 'entrepot; fwd=uri-miss; stored')
      assert.notEqual(headers?.['date'], fastDate)
    }
  })
})

describe('a connection that begins in the fast path', () => {
  it('stays in step, however its requests are cut and joined', async () => {
    await using stage = await start()
    const large = randomBlob(70_000, 8)
    const largeBlob = `/v2/library/alpine/blobs/${stage.upstream.addBlob('library/alpine', large)}`
    await warm(stage, [largeBlob])
    const kinds = [
      { line: `GET ${latest}`, status: 200, body: manifest.body },
      { line: `HEAD ${latest}`, status: 200, body: Buffer.alloc(0) },
      { line: `GET ${byDigest}`, status: 200, body: manifest.body },
      { line: `GET ${blob}`, status: 200, body: config.body },
      { line: `GET ${largeBlob}`, status: 200, body: large },
      { line: 'GET /v2/', status: 200, body: Buffer.from('{}') },
      { line: `GET ${largeBlob}`, headers: { range: 'bytes=9-69000' }, status: 206, body: large.subarray(9, 69_001) },
      { line: `GET ${blob}`, headers: { range: 'bytes=1-3' }, status: 206, body: config.body.subarray(1, 4) },
      { line: 'GET /v2/library/alpine/manifests/absent', status: 404, body: undefined },
    ] as const
    for (const { line, status } of kinds) if (status === 200) await teach(stage, line)
    const text = (kind: (typeof kinds)[number]): string => {
      const fields = Object.entries({ host: 'mirror.test', ...agent, ...('headers' in kind ? kind.headers : {}) })
      return `${kind.line} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
    }
    let isFast = 0
    const series = fc.array(fc.record({ kind: fc.constantFrom(...kinds), cuts: cuts() }), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(series, fc.boolean(), async (requests, joined) => {
        using wire = await Wire.open(stage.mirror.url)
        let held = ''
        for (const { kind, cuts } of requests) {
          const whole = held + text(kind)
          const places = [0, ...cuts.map((cut) => Math.floor(cut * whole.length)).sort((a, b) => a - b)]
          const pieces = places.map((place, at) => whole.slice(place, places[at + 1]))
          held = joined ? (pieces.pop() ?? '') : ''
          for (const piece of pieces) {
            wire.send(piece)
            await new Promise(setImmediate)
          }
        }
        wire.send(held)
        for (const { kind } of requests) {
          const answer = await wire.answer(kind.line.split(' ')[0])
          assert.equal(answer?.status, kind.status)
          if (kind.body) assert.ok(answer.body.equals(kind.body), kind.line)
          if (answer.headers['date'] === fastDate) isFast += 1
        }
        assert.equal(wire.rest, '')
      }),
      { numRuns: 150 },
    )
    assert.ok(isFast > 20, `${isFast} answers of the fast path`)
  })
})

/** Where a text is cut, as parts of its length: mostly nowhere. */
function cuts(): fc.Arbitrary<number[]> {
  const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant<number[]>([]) },
    { weight: 1, arbitrary: fc.array(place, { maxLength: 3 }) },
  )
}

describe('what is told of the fast path', () => {
  it('is told in the log as of node:http', async () => {
    await using stage = await start()
    const lines = ['GET /v2/', `HEAD ${latest}`, `GET ${latest}`, `GET ${byDigest}`, `GET ${blob}`]
    for (const line of lines) {
      await teach(stage, line)
      const answer = await ask({ stage, line })
      const id = /^X-Request-Id: (.*)$/m.exec(answer)?.[1]
      const told = await until(() => stage.mirror.log.find(({ requestId }) => requestId === id), 'the line')
      const before = stage.mirror.log.findLast(({ msg, requestId }) => msg === 'request' && requestId !== id)
      const { requestId: _id, ...fields } = told
      const { requestId: _other, ...expected } = before ?? {}
      assert.deepEqual(fields, expected)
      assert.deepEqual(Object.keys(fields), Object.keys(expected))
      assert.equal(fields['userAgent'], agent['user-agent'])
      assert.equal(stage.mirror.log.filter(({ requestId }) => requestId === id).length, 1)
    }
  })

  it('is counted, as answers, bytes and responses', async () => {
    await using stage = await start()
    for (const line of [`GET ${latest}`, `GET ${blob}`, `HEAD ${blob}`, 'GET /v2/']) await teach(stage, line)
    const before = await stage.mirror.stats()
    const responses = await responsesOf(stage)
    using wire = await Wire.open(stage.mirror.url)
    for (const line of [`GET ${latest}`, `GET ${blob}`, `GET ${blob}`, `HEAD ${blob}`, 'GET /v2/']) {
      wire.request(line, agent)
      assert.equal((await wire.answer(line.split(' ')[0]))?.headers['date'], fastDate)
    }
    const after = await stage.mirror.stats()
    const hits = (kind: 'manifest' | 'blob') => after.requests[kind].hit - before.requests[kind].hit
    assert.deepEqual([hits('manifest'), hits('blob')], [1, 3])
    assert.equal(after.bytes.served - before.bytes.served, manifest.size + 2 * config.size + 2)
    assert.equal((await responsesOf(stage)) - responses, 5)
  })

  it('has no secrets of strangers in it', async () => {
    await using stage = await start()
    const headers = { 'user-agent': 'Basic sesamesesame==' }
    await ask({ stage, line: `GET ${latest}`, headers })
    assert.ok(isFast(await ask({ stage, line: `GET ${latest}`, headers })))
    const ask2 = { stage, line: 'GET /v2/?token=sesame', headers: agent }
    await ask(ask2)
    assert.ok(isFast(await ask(ask2)))
    const lines = await until(() => {
      const lines = stage.mirror.log.filter(({ path, userAgent }) => path || `${userAgent}`.startsWith('Basic'))
      return lines.length === 4 && lines
    }, 'the lines')
    assert.ok(!JSON.stringify(lines).includes('sesame'), JSON.stringify(lines))
  })
})

async function responsesOf({ mirror }: Stage): Promise<number> {
  const text = await (await fetch(`${mirror.adminUrl}/metrics`)).text()
  return Number(/^entrepot_http_responses_total\{code="2xx"\} (\d+)$/m.exec(text)?.[1])
}

describe('stopping', () => {
  it('does not wait for connections in the fast path', async () => {
    await using stage = await start({ config: { timeouts: { shutdown: '600s' } } })
    await teach(stage, `GET ${latest}`)
    using fresh = await Wire.open(stage.mirror.url)
    using answered = await Wire.open(stage.mirror.url)
    answered.request(`GET ${latest}`, agent)
    assert.equal((await answered.answer())?.headers['date'], fastDate)
    await stage.mirror.stop()
    await Promise.all([fresh.closed(), answered.closed()])
    assert.deepEqual([fresh.rest, answered.rest], ['', ''])
  })
})

describe('time in the fast path', { timeout: 300_000 }, () => {
  const head = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

  interface Race {
    readonly firstWithin: number
    readonly nextWithin: number
    readonly sent: string
    readonly answer?: ReturnType<FastPathOptions['responses']['lookUp']>
  }

  /** All that comes until the connection ends. */
  async function race({ sent, answer = 'answered', ...within }: Race): Promise<string> {
    const responses = { lookUp: (text: string) => (text === head ? answer : undefined) }
    const handedOver: unknown[] = []
    const fastPath = new FastPath({ ...within, responses, handOver: (socket) => handedOver.push(socket) })
    await using server = createServer({ allowHalfOpen: true }, (socket) => fastPath.take(socket)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    using wire = await Wire.open(`http://127.0.0.1:${(server.address() as { port: number }).port}`)
    if (sent !== '') wire.send(sent)
    await wire.closed()
    assert.equal(handedOver.length, 0)
    return wire.rest
  }

  it('is short until the first request, and its end is told as node:http tells it', async () => {
    const rest = await race({ firstWithin: 20, nextWithin: 1e6, sent: '' })
    assert.equal(rest, 'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n')
  })

  it('is long between requests, and ends without a word', async () => {
    assert.equal(await race({ firstWithin: 1e6, nextWithin: 20, sent: head }), 'answered')
  })

  it('is for whoever sends a long answer to tell, and then as between requests', async () => {
    const send = async (socket: Socket): Promise<boolean> => {
      for (const part of ['one, ', 'two']) {
        socket.setTimeout(5)
        await once(socket, 'timeout')
        socket.write(part)
      }
      socket.setTimeout(1e6)
      return true
    }
    const answer = { send }
    assert.equal(await race({ firstWithin: 1e6, nextWithin: 20, sent: head, answer }), 'one, two')
  })
})
