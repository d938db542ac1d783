import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { describe, it } from 'node:test'
import { ClientGone, sendBody } from '../../src/http/body.ts'
import { type BodyReader, ReaderClosed } from '../../src/storage/blob-store.ts'
import { open } from '../support/client.ts'
import { Gate } from '../support/gate.ts'

const patience = 20
const hang = { timeout: 20_000 }

/** A body of chunks, each of which may have to be waited for; says whether it was closed, and how often. */
class FakeReader implements BodyReader {
  readonly #steps: (Buffer | Gate | Error)[]
  readonly #closing = Promise.withResolvers<never>()
  closed = 0

  constructor(...steps: (Buffer | Gate | Error)[]) {
    this.#steps = steps
    this.#closing.promise.catch(() => undefined)
  }

  async read(): Promise<Buffer | undefined> {
    for (let step = this.#steps.shift(); step; step = this.#steps.shift()) {
      if (step instanceof Error) throw step
      if (Buffer.isBuffer(step)) return step
      await Promise.race([step.pass(), this.#closing.promise])
    }
    return undefined
  }

  async close(): Promise<void> {
    this.closed += 1
    this.#closing.reject(new ReaderClosed())
  }
}

interface Sent {
  readonly response: ServerResponse
  readonly end: Promise<unknown>
}

/** Serves one body to every request; `sent` is how it went. */
async function serve(reader: BodyReader, length: number | undefined, allowed = patience) {
  const { promise: sent, resolve } = Promise.withResolvers<Sent>()
  const server = createServer((_request, response) => {
    if (length !== undefined) response.setHeader('Content-Length', length)
    response.flushHeaders()
    const end = sendBody(response, reader, { length, patience: allowed, sent: () => {} })
    resolve({ response, end: end.catch((error: unknown) => error) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    port,
    sent,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

describe('sendBody', () => {
  it('does not lose patience with a client while it has nothing for it', async () => {
    const gate = new Gate()
    const reader = new FakeReader(Buffer.from('first, '), gate, Buffer.from('second'))
    await using server = await serve(reader, 13)
    await using client = await open(server.url)
    const { response, end } = await server.sent
    await once(response, 'timeout')
    gate.open()
    assert.equal((await client.read(13)).toString(), 'first, second')
    await client.some()
    assert.ok(client.complete)
    assert.equal(await end, undefined)
    assert.equal(reader.closed, 1)
    assert.equal(response.listenerCount('timeout'), 0)
  })

  it('breaks a body off that is longer than its length, before it is complete', async () => {
    await using server = await serve(new FakeReader(Buffer.from('12345'), Buffer.from('67890')), 9, 10_000)
    await using client = await open(server.url)
    assert.equal((await client.read(9)).toString(), '12345')
    assert.deepEqual([client.complete, client.closedBy], [false, 'fin'])
    assert.match(String(await (await server.sent).end), /longer/)
  })

  for (const length of [9, undefined]) {
    it(`breaks a body off that fails, ${length ? 'of known' : 'of unknown'} length, after what there was`, async () => {
      const reader = new FakeReader(Buffer.from('12345'), new Error('upstream died'))
      await using server = await serve(reader, length, 10_000)
      await using client = await open(server.url)
      assert.equal((await client.read(9)).toString(), '12345')
      assert.deepEqual([client.complete, client.closedBy], [false, 'fin'])
      assert.match(String(await (await server.sent).end), /upstream died/)
      assert.equal(reader.closed, 1)
    })
  }

  it('breaks a body off that ends short', async () => {
    await using server = await serve(new FakeReader(Buffer.from('12345')), 9, 10_000)
    await using client = await open(server.url)
    assert.equal((await client.read(9)).toString(), '12345')
    assert.deepEqual([client.complete, client.closedBy], [false, 'fin'])
  })

  it('ends the read it waits in when the client leaves', async () => {
    const gate = new Gate()
    const reader = new FakeReader(Buffer.from('12345'), gate)
    await using server = await serve(reader, 9, 10_000)
    const client = await open(server.url)
    await gate.arrived()
    client.abort()
    assert.ok((await (await server.sent).end) instanceof ClientGone)
    assert.ok(reader.closed > 0)
  })

  it('breaks the connection of an answer that waits behind another one of the same client', hang, async () => {
    const first = new Gate()
    const readers = [new FakeReader(first, Buffer.from('12345')), new FakeReader(new Error('upstream died'))]
    const ends: Promise<unknown>[] = []
    const server = createServer((_request, response) => {
      const reader = readers[ends.length]
      if (!reader) return
      response.setHeader('Content-Length', 5)
      response.flushHeaders()
      const end = sendBody(response, reader, { length: 5, patience: 0, sent: () => {} })
      ends.push(end.catch((error: unknown) => error))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n')
    socket.resume()
    await first.arrived()
    first.open()
    await once(socket, 'close')
    assert.match(String(await ends[1]), /upstream died/)
    server.close()
  })
})
