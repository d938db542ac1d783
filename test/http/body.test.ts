import assert from 'node:assert/strict'
import { once } from 'node:events'
import { truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { ClientGone, sendBody } from '../../src/http/body.ts'
import { httpWriter, type ResponseWriter } from '../../src/http/response-writer.ts'
import { digestOf } from '../../src/oci/digest.ts'
import {
  type BodyReader,
  type Moved,
  nothingMoved,
  ReaderClosed,
  type SocketDescriptor,
} from '../../src/storage/body-reader.ts'
import { DataFolder } from '../../src/storage/data-folder.ts'
import { FileStore } from '../../src/storage/file-store.ts'
import { IoThreads } from '../../src/storage/io-threads.ts'
import { pathOf } from '../../src/storage/layout.ts'
import { responseServer, socketServer } from '../support/answer-server.ts'
import { get, open } from '../support/client.ts'
import { isCorked } from '../support/corked.ts'
import { Gate } from '../support/gate.ts'
import { randomBlob } from '../support/image.ts'
import { countMoved, untilMoving } from '../support/moving.ts'
import { openFiles, openSockets } from '../support/open-files.ts'
import { socketPair } from '../support/socket-pair.ts'
import { tempDir } from '../support/temp.ts'
import { until } from '../support/wait.ts'
import { Wire } from '../support/wire.ts'

const patience = 20
const hang = { timeout: 300_000 }

/** How answers reach their clients, and how many bytes at the end have to be written. */
const ways = [
  { way: 'by node:http', listen: responseServer, tail: 1 },
  { way: 'by a connection alone', listen: socketServer, tail: 0 },
] as const
type Listen = (typeof ways)[number]['listen']

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
    if (this.closed > 0) throw new ReaderClosed()
    for (let step = this.#steps.shift(); step; step = this.#steps.shift()) {
      if (step instanceof Error) throw step
      if (Buffer.isBuffer(step)) return step
      await Promise.race([step.pass(), this.#closing.promise])
    }
    return undefined
  }

  async transfer(_socket: SocketDescriptor, _most: number): Promise<Moved> {
    return nothingMoved
  }

  cork(): (() => void) | undefined {
    return undefined
  }

  async close(): Promise<void> {
    this.closed += 1
    this.#closing.reject(new ReaderClosed())
  }
}

/** A body that is moved, all that is asked for at once, when a gate opens; says how much that was. */
class MovedReader extends FakeReader {
  readonly moves: number[] = []
  corks = 0
  readonly #gate: Gate

  constructor(gate: Gate, ...steps: Buffer[]) {
    super(...steps)
    this.#gate = gate
  }

  override async transfer(_socket: SocketDescriptor, most: number): Promise<Moved> {
    this.moves.push(most)
    await this.#gate.pass()
    return { bytes: most, full: false }
  }

  override cork(): () => void {
    this.corks += 1
    return () => {
      this.corks -= 1
    }
  }
}

interface Sent {
  readonly stream: ResponseWriter['stream']
  readonly end: Promise<unknown>
}

interface Served {
  readonly reader: BodyReader
  readonly length: number | undefined
  readonly allowed?: number
}

/** Serves one body to every request; `sent` is how it went, and `bytes` how much of it was given. */
async function serve(listen: Listen, { reader, length, allowed = 10_000 }: Served) {
  const { promise: sent, resolve } = Promise.withResolvers<Sent>()
  const tally = { bytes: 0 }
  const server = await listen((asked) => {
    const outgoing = asked.answer(length)
    const sending = sendBody(outgoing, reader, { length, clientTimeout: allowed, tally })
    const end = sending.catch((error: unknown) => error)
    resolve({ stream: outgoing.stream, end })
    return end
  })
  return {
    url: `${server.url}/`,
    sent,
    bytes: () => tally.bytes,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

for (const { way, listen, tail } of ways) {
  describe(`sendBody ${way}`, hang, () => {
    it('does not lose patience with a client while it has nothing for it', async () => {
      const gate = new Gate()
      const reader = new FakeReader(Buffer.from('first, '), gate, Buffer.from('second'))
      await using server = await serve(listen, { reader, length: 13, allowed: patience })
      await using client = await open(server.url)
      const { stream, end } = await server.sent
      await once(stream, 'timeout')
      gate.open()
      assert.equal((await client.read(13)).toString(), 'first, second')
      await client.some()
      assert.ok(client.complete)
      assert.equal(await end, undefined)
      assert.deepEqual([reader.closed, server.bytes(), stream.listenerCount('timeout')], [1, 13, 0])
    })

    it('loses patience with a client that takes nothing', async () => {
      // More than the kernel takes for a client that does not read.
      const reader = new FakeReader(Buffer.alloc(60_000_000))
      await using server = await serve(listen, { reader, length: 60_000_000, allowed: patience })
      using wire = await Wire.open(server.url)
      wire.pause()
      wire.request('GET /')
      const { stream, end } = await server.sent
      const error = await end
      assert.ok(error instanceof ClientGone)
      assert.match(error.message, /took no byte/)
      assert.ok(stream.destroyed)
      assert.ok(reader.closed > 0)
    })

    it('breaks a body off that is longer than its length, before it is complete', async () => {
      const reader = new FakeReader(Buffer.from('12345'), Buffer.from('67890'))
      await using server = await serve(listen, { reader, length: 9 })
      await using client = await open(server.url)
      assert.equal((await client.read(9)).toString(), '12345')
      assert.deepEqual([client.complete, client.closedBy], [false, 'fin'])
      assert.match(String(await (await server.sent).end), /longer/)
    })

    // Only node:http has chunks.
    for (const length of tail === 0 ? [9] : [9, undefined]) {
      it(`breaks a body off that fails, ${length ? 'of known' : 'of unknown'} length, after what there was`, async () => {
        const reader = new FakeReader(Buffer.from('12345'), new Error('upstream died'))
        await using server = await serve(listen, { reader, length })
        await using client = await open(server.url)
        assert.equal((await client.read(9)).toString(), '12345')
        assert.deepEqual([client.complete, client.closedBy], [false, 'fin'])
        assert.match(String(await (await server.sent).end), /upstream died/)
        assert.deepEqual([reader.closed, server.bytes()], [1, 5])
      })
    }

    it('breaks a body off that ends short', async () => {
      const reader = new FakeReader(Buffer.from('12345'))
      await using server = await serve(listen, { reader, length: 9 })
      await using client = await open(server.url)
      assert.equal((await client.read(9)).toString(), '12345')
      assert.deepEqual([client.complete, client.closedBy], [false, 'fin'])
      assert.match(String(await (await server.sent).end), /4 bytes off its length/)
      assert.equal(reader.closed, 1)
    })

    it('ends the read it waits in when the client leaves', async () => {
      const gate = new Gate()
      const reader = new FakeReader(Buffer.from('12345'), gate)
      await using server = await serve(listen, { reader, length: 9 })
      const wire = await Wire.open(server.url)
      wire.request('GET /')
      await gate.arrived()
      wire.reset()
      assert.ok((await (await server.sent).end) instanceof ClientGone)
      assert.ok(reader.closed > 0)
    })

    it('has all moved but for what has to be written, and the cork taken off at the end', async () => {
      const gate = new Gate()
      const reader = new MovedReader(gate, ...(tail > 0 ? [Buffer.from('5')] : []))
      await using server = await serve(listen, { reader, length: 5 })
      using wire = await Wire.open(server.url)
      wire.request('GET /')
      await gate.arrived()
      assert.equal(reader.corks, 1)
      gate.open()
      const { stream, end } = await server.sent
      assert.equal(await end, undefined)
      assert.deepEqual([reader.corks, reader.moves, reader.closed, server.bytes()], [0, [5 - tail], 1, 5])
      assert.equal(stream.listenerCount('timeout'), 0)
    })

    it(`${tail === 0 ? 'does not miss' : 'misses'} a client that leaves when all that can be has been moved`, async () => {
      const gate = new Gate()
      const reader = new MovedReader(gate)
      await using server = await serve(listen, { reader, length: 5 })
      const wire = await Wire.open(server.url)
      wire.request('GET /')
      await gate.arrived()
      const { stream, end } = await server.sent
      const closed = new Promise((resolve) => stream.once('close', resolve))
      wire.reset()
      await closed
      gate.open()
      const error = await end
      assert.equal(error instanceof ClientGone, tail > 0)
      assert.equal(error === undefined, tail === 0)
      assert.equal(server.bytes(), 5 - tail)
    })
  })
}

describe('sendBody', () => {
  it('breaks the connection of an answer that waits behind another one of the same client', hang, async () => {
    const first = new Gate()
    const readers = [new FakeReader(first, Buffer.from('12345')), new FakeReader(new Error('upstream died'))]
    const ends: Promise<unknown>[] = []
    const server = createServer((_request, response) => {
      const reader = readers[ends.length]
      if (!reader) return
      response.setHeader('Content-Length', 5)
      response.flushHeaders()
      const end = sendBody(httpWriter(response), reader, { length: 5, clientTimeout: 0, tally: { bytes: 0 } })
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

const MB = 1_000_000

interface Stored {
  readonly listen: Listen
  readonly size: number
  readonly ioThreads: IoThreads | undefined
  /** Comes before the blob. */
  readonly before?: Buffer
}

/** A store of one blob, served by ranges: `/0-99` is the answer with its first 100 bytes. */
async function serveStored({ listen, size, ioThreads, before }: Stored) {
  const dir = await tempDir()
  const folder = await DataFolder.open(dir.path)
  const body = randomBlob(size)
  const digest = digestOf(body)
  const path = pathOf(dir.path, { kind: 'blob', digest })
  await writeFile(path, body)
  const store = new FileStore(dir.path, ioThreads)
  const ends: Promise<unknown>[] = []
  const corked: Promise<[boolean, boolean]>[] = []
  const tally = { bytes: 0 }
  const server = await listen(async (asked) => {
    const [start = 0, end = size - 1] = asked.path.slice(1).split('-').map(Number)
    const opened = await store.open(digest)
    const length = end + 1 - start
    const outgoing = asked.answer(length, before)
    const options = { length, clientTimeout: 10_000, tally }
    const reader = opened?.reader({ start, end }) ?? assert.fail()
    const { fd = -1 } = (outgoing.socket as { _handle?: { fd?: number } } | null)?._handle ?? {}
    const sending = sendBody(outgoing, reader, options)
    const wasCorked = ioThreads?.sending !== undefined && fd >= 0 && isCorked(fd)
    const isStill = sending.then(() => wasCorked && isCorked(fd)).catch(() => false)
    corked.push(isStill.then((still) => [wasCorked, still]))
    ends.push(sending.catch((error: unknown) => error))
    await ends.at(-1)
  })
  return {
    body,
    digest,
    path,
    url: (start = 0, end = size - 1) => `${server.url}/${start}-${end}`,
    root: server.url,
    /** Bytes, of all answers. */
    sent: () => tally.bytes,
    /** How each answer went, in order. */
    ends,
    /** Whether each connection was corked from the start, and afterwards. */
    corked,
    openFiles: () => openFiles(join(dir.path, 'blobs')),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

function turns(count: number): Promise<void> {
  return count === 0 ? Promise.resolve() : new Promise((resolve) => setImmediate(() => resolve(turns(count - 1))))
}

const offloaded = new IoThreads()
const count = countMoved(offloaded.sending)

const hows = ways.flatMap((way) => [
  { ...way, how: 'moved', ioThreads: offloaded },
  { ...way, how: 'read and written', ioThreads: undefined },
])

for (const { way, listen, tail, how, ioThreads } of hows) {
  const skip = ioThreads && !ioThreads.sending ? 'sendfile(2) cannot be called here' : false

  describe(`sendBody of a stored file ${way}, ${how}`, { skip, ...hang }, () => {
    before(() => untilMoving(ioThreads?.sending))

    /** All that need not be written of what is worth it. */
    const wouldMove = (bytes: number): number => (ioThreads && bytes - tail >= 65_536 ? bytes - tail : 0)

    for (const size of [1, 2, 65_536, 65_537, 256 * 1024, 256 * 1024 + 1, 20 * MB, 70 * MB]) {
      it(`gives ${size} bytes, whole and by ranges`, async () => {
        await using server = await serveStored({ listen, size, ioThreads })
        const before = count.bytes
        const got = await get(server.url())
        assert.deepEqual([got.complete, got.bytes, got.digest], [true, size, server.digest])
        await Promise.all(server.ends)
        assert.equal(server.sent(), size)
        assert.equal(count.bytes - before, wouldMove(size))
        const { length } = server.body
        for (const [start, end] of [
          [0, 0],
          [length - 1, length - 1],
          [Math.floor(length / 3), length - 1],
          [Math.floor(length / 3), Math.floor(length / 2)],
        ] as const) {
          const part = await get(server.url(start, end))
          assert.ok(part.complete)
          assert.equal(part.digest, digestOf(server.body.subarray(start, end + 1)))
        }
        assert.deepEqual(new Set(await Promise.all(server.ends)), new Set([undefined]))
        assert.equal(await server.openFiles(), 0)
      })
    }

    it('gives one answer after the other on one connection, to requests sent at once too', async () => {
      await using server = await serveStored({ listen, size: 2 * MB, ioThreads })
      const before = count.bytes
      using wire = await Wire.open(server.root)
      const ranges = [
        [0, 2 * MB - 1],
        [5, 5],
        [100, 1_500_000],
        [0, 99_999],
        [1_999_999, 1_999_999],
      ] as const
      for (const [start, end] of ranges) wire.request(`GET /${start}-${end}`)
      for (const [start, end] of ranges) {
        const answer = await wire.answer()
        assert.equal(answer?.status, 200)
        assert.ok(answer.body.equals(server.body.subarray(start, end + 1)), `bytes ${start} to ${end}`)
      }
      // Each after the one before.
      for (const [start, end] of ranges) {
        wire.request(`GET /${start}-${end}`)
        assert.ok((await wire.answer())?.body.equals(server.body.subarray(start, end + 1)))
      }
      assert.equal(wire.rest, '')
      await Promise.all(server.ends)
      const moved = ranges.reduce((bytes, [start, end]) => bytes + wouldMove(end + 1 - start), 0)
      // What waits for its turn is read ahead, a little of it.
      assert.equal(count.bytes - before > moved, moved > 0)
      assert.equal(await server.openFiles(), 0)
    })

    it('leaves in one with its headers, if it is large, and holds nothing back afterwards', async () => {
      for (const [size, isLarge] of [
        [256 * 1024, false],
        [256 * 1024 + 1, true],
        [5 * MB, true],
      ] as const) {
        await using server = await serveStored({ listen, size, ioThreads })
        assert.equal((await get(server.url())).digest, server.digest)
        assert.deepEqual(await Promise.all(server.corked), [[isLarge && ioThreads !== undefined, false]])
      }
    })

    it('comes after what was written before it, though the connection has not taken that', async () => {
      const size = 4 * MB
      const head = randomBlob(size, 2)
      await using server = await serveStored({ listen, size, ioThreads, before: head })
      const before = count.bytes
      const [first, second] = [await get(server.url(), { pace: () => turns(1) }), await get(server.url(5, 1_000_000))]
      assert.equal(first.digest, digestOf(Buffer.concat([head, server.body])))
      assert.equal(second.digest, digestOf(Buffer.concat([head, server.body.subarray(5, 1_000_001)])))
      assert.equal(count.bytes > before, ioThreads !== undefined)
    })

    it('gives each of several clients what it asked for, at its own pace', async () => {
      await using server = await serveStored({ listen, size: 8 * MB, ioThreads })
      const before = count.bytes
      const got = await Promise.all([0, 1, 4, 0, 1].map((pace) => get(server.url(), { pace: () => turns(pace) })))
      for (const { complete, digest } of got) assert.deepEqual([complete, digest], [true, server.digest])
      // To a connection that took nothing for a while a little is written: how often depends on the machine.
      const [moved, most] = [count.bytes - before, got.length * wouldMove(8 * MB)]
      assert.ok(moved <= most && moved >= most * 0.9, `${moved} of ${most} bytes were moved`)
    })

    it('has nothing open any more when a client leaves in the middle', async () => {
      await using server = await serveStored({ listen, size: 20 * MB, ioThreads })
      const before = await openSockets()
      for (const bytes of [0, 1, 5 * MB]) {
        const client = await open(server.url())
        await client.read(bytes)
        client.abort()
      }
      await until(() => server.ends.length === 3, 'the answers to begin')
      for (const end of server.ends) assert.ok((await end) instanceof ClientGone)
      assert.equal(await server.openFiles(), 0)
      await until(async () => (await openSockets()) === before, 'the connections to be closed')
    })

    it('cuts a body whose file becomes shorter, and never ends it cleanly', async () => {
      await using server = await serveStored({ listen, size: 20 * MB, ioThreads })
      await using client = await open(server.url())
      await client.read(MB)
      await truncate(server.path, 10 * MB)
      let bytes = MB
      for (let chunk = await client.some(); chunk; chunk = await client.some()) bytes += chunk.length
      assert.deepEqual([client.complete, client.closedBy], [false, 'fin'])
      assert.ok(bytes < 20 * MB)
      assert.match(String(await server.ends[0]), /ended at 10000000/)
      assert.equal(await server.openFiles(), 0)
    })
  })
}

for (const { way, listen } of ways) {
  describe(`sendBody ${way} of a file whose thread dies`, hang, () => {
    it('breaks the answer in its hands after bytes that are right, and gives the next one whole', async (test) => {
      const deaths: Error[] = []
      await using ioThreads = new IoThreads((death) => deaths.push(death))
      const { sending } = ioThreads
      if (!sending) return test.skip('sendfile(2) cannot be called here')
      await untilMoving(sending)
      await using server = await serveStored({ listen, size: 40 * MB, ioThreads })
      {
        await using client = await open(server.url())
        const chunks = [await client.read(MB)]
        // No number at all: the thread fails on it.
        const poison = 'poison' as unknown as number
        await using pair = await socketPair()
        await sending.move(poison, pair.ours.fd, { position: 0, length: MB }).moved
        assert.equal(deaths.length, 1)
        for (let chunk = await client.some(); chunk; chunk = await client.some()) chunks.push(chunk)
        assert.deepEqual([client.complete, client.closedBy], [false, 'fin'])
        const all = Buffer.concat(chunks)
        assert.ok(all.length < 40 * MB)
        assert.ok(all.equals(server.body.subarray(0, all.length)))
        assert.ok((await server.ends[0]) instanceof ClientGone)
      }
      const next = await get(server.url())
      assert.deepEqual([next.complete, next.digest], [true, server.digest])
      assert.equal(await server.openFiles(), 0)
    })
  })
}
