import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FastPathServer, type FastPathServerOptions } from '../../../src/http/fast/fast-path-server.ts'
import { listen } from '../../../src/http/server.ts'
import { until } from '../../support/wait.ts'
import { Wire } from '../../support/wire.ts'

const known = 'GET /known HTTP/1.1\r\nHost: a\r\n\r\n'
const other = 'GET /other HTTP/1.1\r\nHost: a\r\n\r\n'

type Known = ReturnType<FastPathServerOptions['responses']['lookUp']>

function textOf(body: string): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`
}

/** A server whose fast path knows one head; everything else it answers with what was asked for. */
class Setting implements AsyncDisposable {
  readonly server: FastPathServer
  readonly clients: string[] = []
  /** What node:http was asked for. */
  readonly parsed: string[] = []

  static async start(body: string | (() => Known) = 'from the fast path'): Promise<Setting> {
    const setting = new Setting(typeof body === 'string' ? () => textOf(body) : body)
    await listen(setting.server, { host: '127.0.0.1', port: 0 })
    return setting
  }

  private constructor(answer: () => Known) {
    this.server = new FastPathServer({
      handler: (request, response) => {
        this.parsed.push(`${request.method} ${request.url}`)
        const chunks: Buffer[] = []
        request.on('data', (chunk: Buffer) => chunks.push(chunk))
        request.on('end', () => response.end(`${request.url} ${Buffer.concat(chunks)}`))
      },
      responses: {
        lookUp: (text, client) => {
          if (text !== known) return undefined
          this.clients.push(client)
          return answer()
        },
      },
    })
  }

  open(): Promise<Wire> {
    return Wire.open(`http://127.0.0.1:${(this.server.address() as { port: number }).port}`)
  }

  /** Resolves when all connections have ended. */
  close(): Promise<void> {
    return new Promise((resolve) => this.server.close(() => resolve()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.server.listening) return
    const closed = this.close()
    this.server.closeAllConnections()
    await closed
  }
}

async function bodyOf(wire: Wire): Promise<string | undefined> {
  return (await wire.answer())?.body.toString()
}

describe('the fast path', () => {
  it('answers what it knows, again and again, over one connection and over many', async () => {
    await using setting = await Setting.start()
    for (let connection = 0; connection < 3; connection += 1) {
      using wire = await setting.open()
      for (let round = 0; round < 3; round += 1) {
        wire.send(known)
        assert.equal(await bodyOf(wire), 'from the fast path')
      }
    }
    assert.deepEqual([setting.clients.length, setting.clients[0], setting.parsed], [9, '"127.0.0.1"', []])
  })

  const long = `GET /long HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(3000)}\r\n\r\n`
  const post = `POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: ${known.length}\r\n\r\n`
  const chunked = 'POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  const large = 'x'.repeat(200_000)
  for (const { name, pieces, parsed } of [
    { name: 'another head', pieces: [other], parsed: ['GET /other'] },
    { name: 'a long head', pieces: [long], parsed: ['GET /long'] },
    { name: 'a head byte by byte', pieces: [...known], parsed: ['GET /known'] },
    { name: 'another head byte by byte', pieces: [...other], parsed: ['GET /other'] },
    { name: 'two heads at once', pieces: [known + known], parsed: ['GET /known', 'GET /known'] },
    {
      name: 'three heads at once',
      pieces: [known + other + known],
      parsed: ['GET /known', 'GET /other', 'GET /known'],
    },
    {
      name: 'one and a half',
      pieces: [known + other.slice(0, 9), other.slice(9)],
      parsed: ['GET /known', 'GET /other'],
    },
    { name: 'one after an empty line', pieces: [`\r\n${known}`], parsed: ['GET /known'] },
    { name: 'a known head as a body', pieces: [post, known], parsed: ['POST /post'] },
    { name: 'a known head as a body, at once', pieces: [post + known], parsed: ['POST /post'] },
    {
      name: 'a known head in a chunk',
      pieces: [chunked, `${known.length.toString(16)}\r\n`, known, '\r\n0\r\n\r\n'],
      parsed: ['POST /post'],
    },
    { name: 'a long body', pieces: [post.replace(`${known.length}`, '200000') + large], parsed: ['POST /post'] },
  ]) {
    for (const before of [0, 2]) {
      it(`hands over ${name}, after ${before} answers, and node:http keeps the connection`, async () => {
        await using setting = await Setting.start()
        using wire = await setting.open()
        for (let count = 0; count < before; count += 1) {
          wire.send(known)
          assert.equal(await bodyOf(wire), 'from the fast path')
        }
        for (const piece of pieces) {
          wire.send(piece)
          await new Promise(setImmediate)
        }
        for (const line of parsed) assert.match((await bodyOf(wire)) ?? '', new RegExp(`^${line.split(' ')[1]} `))
        wire.send(known)
        assert.equal(await bodyOf(wire), '/known ')
        assert.equal(wire.rest, '')
        assert.deepEqual(setting.parsed, [...parsed, 'GET /known'])
        assert.equal(setting.clients.length, before)
      })
    }
  }

  it('lets the body of a request come through as it was sent', async () => {
    await using setting = await Setting.start()
    using wire = await setting.open()
    wire.send(post)
    wire.send(known)
    assert.equal(await bodyOf(wire), `/post ${known}`)
  })

  for (const [name, sent] of Object.entries({
    garbage: 'hello\r\n\r\n',
    TLS: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'a head with NUL': 'GET /v2/ HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n',
  })) {
    it(`leaves ${name} to node:http, and the connection ends`, async () => {
      await using setting = await Setting.start()
      using wire = await setting.open()
      wire.send(known)
      await wire.answer()
      wire.send(sent)
      assert.equal((await wire.answer())?.status, 400)
      await wire.closed()
    })
  }

  it('leaves a tunnel to node:http, which declines it', async () => {
    await using setting = await Setting.start()
    using wire = await setting.open()
    wire.send('CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n')
    assert.equal((await wire.answer())?.status, 405)
    await wire.closed()
  })

  it('hands over the connection of a client that does not read, and so holds one answer for it', async () => {
    await using setting = await Setting.start('x'.repeat(60_000))
    using wire = await setting.open()
    wire.pause()
    let sent = 0
    await until(async () => {
      if (setting.parsed.length > 0) return true
      wire.send(known)
      sent += 1
      // One at a time, lest it be handed over for bringing two at once.
      await until(() => setting.clients.length + setting.parsed.length === sent, 'the head to be seen')
      return false
    }, 'the connection to be handed over')
    wire.resume()
    for (let count = 0; count < setting.clients.length; count += 1) assert.equal((await bodyOf(wire))?.length, 60_000)
    assert.equal(await bodyOf(wire), '/known ')
  })

  it('answers a client that sends no more, and ends its own side', async () => {
    await using setting = await Setting.start()
    using wire = await setting.open()
    wire.send(known)
    wire.end()
    assert.equal(await bodyOf(wire), 'from the fast path')
    await wire.closed()
    using silent = await setting.open()
    silent.end()
    await silent.closed()
    assert.equal(silent.rest, '')
    await setting.close()
  })

  it('survives clients that reset their connections', async () => {
    await using setting = await Setting.start('x'.repeat(60_000))
    for (const text of ['', known, known + known, known.slice(0, 9)]) {
      const wire = await setting.open()
      wire.send(text)
      if (text === known) await until(() => setting.clients.length > 0, 'the answer')
      wire.reset()
    }
    using wire = await setting.open()
    wire.send(known)
    assert.equal((await bodyOf(wire))?.length, 60_000)
  })
})

describe('closing the fast path', () => {
  it('ends connections that wait, but for those whose first request may be on its way', async () => {
    await using setting = await Setting.start()
    using fresh = await setting.open()
    using answered = await setting.open()
    answered.send(known)
    await answered.answer()
    using elsewhere = await setting.open()
    elsewhere.send(other)
    await elsewhere.answer()
    const closed = setting.close()
    for (const wire of [answered, elsewhere]) {
      await wire.closed()
      assert.equal(wire.rest, '')
    }
    fresh.send(known)
    assert.equal((await fresh.answer())?.status, 200)
    await fresh.closed()
    await closed
  })

  it('lets what was answered be read first', async () => {
    const size = 20_000_000
    await using setting = await Setting.start('x'.repeat(size))
    using wire = await setting.open()
    wire.pause()
    wire.send(known)
    await until(() => setting.clients.length > 0, 'the answer')
    const closed = setting.close()
    wire.resume()
    assert.equal((await bodyOf(wire))?.length, size)
    await wire.closed()
    await closed
  })

  it('answers nothing more', async () => {
    await using setting = await Setting.start('x'.repeat(20_000_000))
    using wire = await setting.open()
    wire.pause()
    wire.send(known)
    await until(() => setting.clients.length > 0, 'the answer')
    const closed = setting.close()
    wire.send(known)
    wire.send(other)
    wire.resume()
    await Promise.all([wire.closed(), closed])
    assert.deepEqual([setting.clients.length, setting.parsed], [1, []])
  })

  it('does not wait for a client that does not read, once all connections are to be closed', async () => {
    await using setting = await Setting.start('x'.repeat(20_000_000))
    using wire = await setting.open()
    wire.pause()
    wire.send(known)
    await until(() => setting.clients.length > 0, 'the answer')
    const closed = setting.close()
    // As it is done while waiting, over and over.
    for (let count = 0; count < 20; count += 1) setting.server.closeIdleConnections()
    setting.server.closeAllConnections()
    await closed
  })
})

describe('an exception in the fast path', () => {
  it('before an answer has begun leaves the connection to node:http, which keeps it', async () => {
    await using setting = await Setting.start(() => {
      throw new Error('the look-up failed')
    })
    using wire = await setting.open()
    for (let round = 0; round < 2; round += 1) {
      wire.send(known)
      assert.equal(await bodyOf(wire), '/known ')
    }
    assert.deepEqual([setting.clients.length, setting.parsed], [1, ['GET /known', 'GET /known']])
  })

  it('in the middle of an answer cuts the connection, and no other', async () => {
    let isBroken = true
    await using setting = await Setting.start(() =>
      isBroken
        ? {
            send: async (socket) => {
              await new Promise((resolve) => socket.write(textOf('whole').slice(0, -1), resolve))
              throw new Error('the sender failed')
            },
          }
        : textOf('whole'),
    )
    using wire = await setting.open()
    wire.send(known)
    await assert.rejects(wire.answer(), /ended 1 bytes early/)
    await wire.closed()
    isBroken = false
    using other = await setting.open()
    other.send(known)
    assert.equal(await bodyOf(other), 'whole')
    assert.deepEqual(setting.parsed, [])
  })
})
