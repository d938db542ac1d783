import assert from 'node:assert/strict'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import type { Dispatcher } from 'undici'
import { Body } from '../../../src/upstream/transfer/body.ts'
import { createDispatcher } from '../../../src/upstream/transfer/dispatcher.ts'
import { randomBlob } from '../../support/image.ts'
import { until } from '../../support/wait.ts'

/** As a socket gives it, at most. */
const chunkSize = 64 * 1024
const content = randomBlob(40 * chunkSize)
const second = 1000
const all = { skip: 0, most: undefined }

/** The content, in pieces, each in memory of its own. */
function* pieces(size: number, of = content): Generator<Buffer> {
  for (let at = 0; at < of.length; at += size) yield Buffer.from(new Uint8Array(of.subarray(at, at + size)).buffer)
}

function bodyOf(chunks: Iterable<Buffer>): Body {
  const source = Readable.from(chunks, { objectMode: false, highWaterMark: chunkSize })
  return new Body(source as Dispatcher.ResponseData['body'], (error) => error)
}

async function read(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const copies: Buffer[] = []
  for await (const chunk of chunks) copies.push(Buffer.from(chunk))
  return Buffer.concat(copies)
}

describe('Body', () => {
  it('gives each chunk as it was until the next is asked for, and then its memory back', async () => {
    const copies: Buffer[] = []
    let last: Buffer | undefined
    for await (const chunk of bodyOf(pieces(chunkSize)).chunks(all)) {
      if (last) assert.equal(last.length, 0)
      last = chunk
      copies.push(Buffer.from(chunk))
      await new Promise((resolve) => setImmediate(resolve))
      assert.ok(chunk.equals(copies.at(-1) ?? assert.fail()))
    }
    assert.ok(Buffer.concat(copies).equals(content))
    assert.equal(last?.length, 0)
  })

  it('does not give back memory that is not all its own', async () => {
    const memory = Buffer.alloc(3 * chunkSize, 7)
    await read(bodyOf([memory.subarray(0, chunkSize), memory.subarray(chunkSize, 2 * chunkSize)]).chunks(all))
    assert.equal(memory.length, 3 * chunkSize)
  })

  it('gives what is wanted of it, and refuses to be longer unless the rest is unwanted', async () => {
    for (const [skip, most] of [
      [0, 1],
      [999, 1001],
      [1000, 1000],
      [2500, 50_000],
    ] as const) {
      const part = { skip, most, tail: 'unwanted' } as const
      assert.ok((await read(bodyOf(pieces(1000)).chunks(part))).equals(content.subarray(skip, skip + most)))
      await assert.rejects(read(bodyOf(pieces(1000)).chunks({ skip, most })), { name: 'BodyTooLong' })
    }
    const rest = { skip: 1000, most: content.length - 1000 }
    assert.ok((await read(bodyOf(pieces(1000)).chunks(rest))).equals(content.subarray(1000)))
  })

  describe('on a connection', () => {
    let answers: ServerResponse[] = []
    let connections = 0
    const server = createServer((_request, response) => answers.push(response.writeHead(200)))
    const dispatcher = createDispatcher({ connect: second, headerBytes: 4096, headers: 60 * second, stall: 100 })
    before(async () => {
      server.on('connection', () => {
        connections += 1
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    })
    after(async () => {
      await dispatcher.destroy()
      server.close()
    })

    async function receive(): Promise<{ body: Body; answer: ServerResponse }> {
      answers = []
      const { port } = server.address() as AddressInfo
      const asked = dispatcher.request({ origin: `http://127.0.0.1:${port}`, path: '/', method: 'GET' })
      await until(() => answers.length > 0, 'the request')
      const [answer] = answers
      answer?.flushHeaders()
      const failureOf = (error: unknown) => new Error(`failed: ${(error as { code: string }).code}`)
      return { body: new Body((await asked).body, failureOf), answer: answer ?? assert.fail() }
    }

    it('is all there, and fails as it is told to', async () => {
      const whole = await receive()
      whole.answer.end(content)
      assert.ok((await read(whole.body.chunks(all))).equals(content))
      const cut = await receive()
      cut.answer.write(content.subarray(0, 1000))
      const reading = read(cut.body.chunks(all))
      cut.answer.destroy()
      await assert.rejects(reading, /failed: UND_ERR_SOCKET/)
      const silent = await receive()
      await assert.rejects(read(silent.body.chunks(all)), /failed: UND_ERR_BODY_TIMEOUT/)
    })

    it('pauses it while nobody reads, and no time passes meanwhile', async () => {
      const { body, answer } = await receive()
      const long = Buffer.alloc(64 * 1024 * 1024)
      answer.end(long)
      await new Promise((resolve) => setTimeout(resolve, 2 * second))
      assert.ok((answer.socket?.writableLength ?? 0) > 0)
      assert.equal((await read(body.chunks(all))).length, long.length)
    })

    it('lets it be used again after a short rest that nobody wants, and breaks it for a long one', async () => {
      const long = await receive()
      long.body.discard()
      long.answer.write(content)
      await until(() => long.answer.destroyed, 'the connection to be broken')
      const closed = await receive()
      closed.body.close()
      await until(() => closed.answer.destroyed, 'the connection to be broken')
      // Each of them makes a connection, but for those that find one.
      await until(async () => {
        const before = connections
        const { body, answer } = await receive()
        body.discard()
        answer.end(content.subarray(0, 10_000))
        return connections === before
      }, 'a connection that is used again')
    })
  })
})
