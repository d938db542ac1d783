import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, createServer as createRawServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { digestOf, hexOf } from '../../../src/oci/digest.ts'
import { Offload } from '../../../src/storage/io-threads.ts'
import { Spool } from '../../../src/storage/spool/spool.ts'
import { loadLibc } from '../../../src/threads/libc.ts'
import { defaultLimits } from '../../../src/upstream/transfer/limits.ts'
import { Transport } from '../../../src/upstream/transfer/transport.ts'
import type { BlobBody, Memory } from '../../../src/upstream/upstream.ts'
import { selfSigned } from '../../support/certificate.ts'
import { Gate } from '../../support/gate.ts'
import { randomBlob } from '../../support/image.ts'
import { openSockets } from '../../support/open-files.ts'
import { type Receptions, watchReceptions } from '../../support/receptions.ts'
import { tempDir } from '../../support/temp.ts'
import { stayAlive, warm } from '../../support/threads.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { until } from '../../support/wait.ts'
import { patience, Subject, whole } from '../subject.ts'
import { turns } from './drained-ring.ts'

/** Bodies of real connections, whose rest real threads receive. */

stayAlive()

const skip = loadLibc() ? false : 'recv(2) cannot be called here'
const MiB = 1024 * 1024
const least = 4 * MiB
const chunk = 128 * 1024
const size = 8 * MiB + 5
const content = randomBlob(size)
const certificate = selfSigned()
setDefaultCACertificates([...getCACertificates('default'), certificate.cert])

let offload: Offload
let receptions: Receptions

before(async () => {
  if (skip) return
  receptions = watchReceptions()
  offload = new Offload()
  await warm(offload.writing)
  await using line = await serve((socket) => socket.write(headOf(size)) && socket.write(content))
  await until(async () => {
    await line.draw()
    return receptions.bytes > 0
  }, 'a thread that receives')
})
after(async () => {
  await offload?.[Symbol.asyncDispose]()
  receptions?.[Symbol.dispose]()
})

/** Who has drawn a body: what came, and why no more. */
interface Drawn {
  readonly hex: string
  readonly bytes: number
  readonly error: unknown
}

type Readable = BlobBody & { receiveInto(memory: Memory): void; bypass(): AsyncIterable<number> }

/** Draws a body into a spool of its own, as a download does; `each` is told how much there is. */
async function draw(body: Readable, expected = size, each: (bytes: number) => unknown = () => {}): Promise<Drawn> {
  await using dir = await tempDir()
  const spool = await Spool.create(join(dir.path, 'spool'), { offload })
  spool.hashFor(digestOf(content))
  spool.expect(expected)
  const lend = (): void => {
    if (spool.memory) body.receiveInto(spool.memory)
  }
  let error: unknown
  try {
    lend()
    for await (const bytes of body) {
      await spool.append(bytes)
      lend()
      await each(spool.written)
      for await (const more of body.bypass()) {
        await spool.append(more)
        await each(spool.written)
      }
    }
  } catch (cause) {
    error = cause
  }
  const hex = await spool.digest()
  const { written: bytes } = spool
  spool.release()
  await spool.close()
  return { hex, bytes, error }
}

interface Line extends AsyncDisposable {
  readonly sockets: readonly Socket[]
  readonly transport: Transport
  open(signal?: AbortSignal): Promise<Readable & { close(): void }>
  draw(expected?: number): Promise<Drawn>
}

function headOf(length: number): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`
}

/** Answers to connections over plain TCP, written byte by byte. */
function serve(answer: (socket: Socket) => unknown, limits = defaultLimits): Promise<Line> {
  const server = createRawServer((socket) => {
    socket.setNoDelay(true)
    socket.on('data', () => answer(socket))
  })
  return connectTo(server as Server, 'http://127.0.0.1', limits)
}

async function connectTo(server: Server, origin: string, limits = defaultLimits): Promise<Line> {
  const sockets: Socket[] = []
  server.on('connection', (socket: Socket) => sockets.push(socket.on('error', () => {})))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const transport = new Transport({ upstream: 'registry.test', limits, now: () => 0 })
  const open = async (signal = patience()): Promise<Readable & { close(): void }> => {
    const url = new URL(`${origin}:${port}/`)
    const { body } = await transport.send({ kind: 'blob', method: 'GET', url, headers: {}, signal })
    return {
      receiveInto: (memory) => body.receiveInto(memory),
      bypass: () => body.bypass(),
      close: () => body.close(),
      async *[Symbol.asyncIterator]() {
        for (let bytes = await body.read(); bytes; bytes = await body.read()) yield bytes
      },
    }
  }
  return {
    sockets,
    transport,
    open,
    draw: async (expected) => await draw(await open(), expected),
    async [Symbol.asyncDispose]() {
      await transport[Symbol.asyncDispose]()
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

function isWhole({ hex, bytes, error }: Drawn): void {
  assert.deepEqual([error, bytes, hex], [undefined, size, hexOf(digestOf(content))])
}

describe('a body of a plain connection', { skip }, () => {
  it('is handed over after its first chunk, and its connection is closed afterwards', async () => {
    await using line = await serve((socket) => socket.write(headOf(size)) && socket.write(content))
    for (let time = 1; time <= 3; time += 1) {
      receptions.reset()
      isWhole(await line.draw())
      assert.deepEqual(
        receptions.all.map(({ end }) => end),
        ['whole'],
      )
      assert.ok(receptions.bytes >= size - 2 * chunk)
      await until(() => line.sockets[time - 1]?.closed, 'the connection to be closed')
    }
    assert.equal(line.sockets.length, 3)
  })

  for (const [length, isHandedOver] of [
    [least, false],
    [least + 2 * chunk, true],
  ] as const) {
    it(`of ${length} bytes is ${isHandedOver ? '' : 'not '}handed over`, async () => {
      await using line = await serve(
        (socket) => socket.write(headOf(length)) && socket.write(content.subarray(0, length)),
      )
      receptions.reset()
      for (let time = 0; time < 2; time += 1) {
        const { bytes, hex } = await line.draw(length)
        assert.deepEqual([bytes, hex], [length, hexOf(digestOf(content.subarray(0, length)))])
        await turns(3)
      }
      assert.equal(receptions.all.length, isHandedOver ? 2 : 0)
      // One that was not handed over leaves its connection to the next.
      assert.equal(line.sockets.length, isHandedOver ? 2 : 1)
    })
  }

  for (const { name, first } of [
    { name: 'comes in one packet with its head', first: 20_000 },
    { name: 'comes in one packet with its head, but for the last byte', first: size - 1 },
    { name: 'begins with one byte', first: 1 },
  ]) {
    it(`is right though it ${name}`, async () => {
      await using line = await serve(async (socket) => {
        socket.write(Buffer.concat([Buffer.from(headOf(size)), content.subarray(0, first)]))
        await turns(50)
        socket.write(content.subarray(first))
      })
      receptions.reset()
      isWhole(await line.draw())
      assert.equal(receptions.all.length, 1)
    })
  }

  it('is not handed over before what came with its head is read', async () => {
    await using line = await serve((socket) => {
      socket.write(Buffer.concat([Buffer.from(headOf(size)), content.subarray(0, 20_000)]))
    })
    receptions.reset()
    const body = await line.open()
    await using dir = await tempDir()
    const spool = await Spool.create(join(dir.path, 'spool'), { offload })
    spool.hashFor(digestOf(content))
    spool.expect(size)
    body.receiveInto(spool.memory ?? assert.fail())
    for await (const bytes of body.bypass()) assert.fail(`${bytes} bytes`)
    assert.equal(receptions.all.length, 0)
    for await (const bytes of body) {
      assert.ok(bytes.equals(content.subarray(0, 20_000)))
      break
    }
    body.close()
    await spool.close()
  })

  it('is right though its first bytes come one by one, and its head too', async () => {
    await using line = await serve(async (socket) => {
      const head = headOf(size)
      for (const letter of head) {
        socket.write(letter)
        await turns(1)
      }
      for (let at = 0; at < 30; at += 1) {
        socket.write(content.subarray(at, at + 1))
        await turns(2)
      }
      socket.write(content.subarray(30))
    })
    receptions.reset()
    isWhole(await line.draw())
    assert.equal(receptions.all.length, 1)
  })

  it('ends where its length says, whatever the server sends beyond it', async () => {
    await using line = await serve(
      (socket) => socket.write(headOf(size)) && socket.write(Buffer.concat([content, content])),
    )
    receptions.reset()
    isWhole(await line.draw())
    assert.equal(receptions.all.length, 1)
    assert.ok(receptions.bytes < size)
    isWhole(await line.draw())
    assert.equal(line.sockets.length, 2)
  })

  for (const [how, end] of [
    ['closed', 'closed'],
    ['reset', { code: 'ECONNRESET' }],
  ] as const) {
    it(`says that its connection was ${how}, after what there was`, async () => {
      const gate = new Gate()
      await using line = await serve(async (socket) => {
        socket.write(headOf(size))
        socket.write(content.subarray(0, 3 * MiB))
        await gate.pass()
        if (how === 'closed') socket.end()
        else socket.resetAndDestroy()
      })
      receptions.reset()
      const drawn = await draw(await line.open(), size, (bytes) => bytes === 3 * MiB && gate.open())
      assert.deepEqual(receptions.all[0]?.end, end)
      assert.equal(drawn.bytes, 3 * MiB)
      assert.equal(drawn.hex, hexOf(digestOf(content.subarray(0, 3 * MiB))))
      assert.equal((drawn.error as { kind?: string }).kind, 'unreachable')
    })
  }

  it('says that it stalls, and breaks its connection', async () => {
    const limits = { ...defaultLimits, stall: 200 }
    await using line = await serve(
      (socket) => socket.write(headOf(size)) && socket.write(content.subarray(0, MiB)),
      limits,
    )
    receptions.reset()
    const { bytes, error } = await line.draw()
    assert.deepEqual([bytes, receptions.all[0]?.end], [MiB, 'stalled'])
    assert.equal((error as { kind?: string }).kind, 'timeout')
    await until(() => line.sockets[0]?.closed, 'the connection to be broken')
  })

  for (const how of [
    'its signal is aborted',
    'it is closed',
    'its upstream is destroyed',
    'its reader leaves',
  ] as const) {
    it(`is received no more, and nothing of it stays open, where ${how} in the middle`, async () => {
      const before = await openSockets()
      {
        await using line = await serve(
          (socket) => socket.write(headOf(size)) && socket.write(content.subarray(0, 3 * MiB)),
        )
        receptions.reset()
        const leaver = new AbortController()
        const body = await line.open(leaver.signal)
        let isOver = false
        const { bytes, error } = await draw(body, size, async (bytes) => {
          if (isOver || bytes < 3 * MiB) return
          isOver = true
          assert.equal(receptions.running, 1)
          if (how === 'its reader leaves') throw new Error('left')
          if (how === 'its signal is aborted') leaver.abort(new Error('left'))
          if (how === 'it is closed') body.close()
          if (how === 'its upstream is destroyed') await line.transport[Symbol.asyncDispose]()
        })
        assert.equal(bytes, 3 * MiB)
        assert.ok(error instanceof Error)
        if (how.includes('signal')) assert.match(String(error), /left/)
        if (how === 'its reader leaves') body.close()
        assert.equal(receptions.running, 0)
        await until(() => line.sockets[0]?.closed, 'the connection to be broken')
      }
      await until(async () => (await openSockets()) === before, 'all to be closed')
    })
  }
})

describe('a body', { skip }, () => {
  for (const { name, headers, secure } of [
    { name: 'over TLS', headers: { 'content-length': size }, secure: true },
    { name: 'in chunks', headers: { 'transfer-encoding': 'chunked' }, secure: false },
    { name: 'that ends with its connection', headers: { connection: 'close' }, secure: false },
  ] as const) {
    it(`${name} is right, and never handed over`, async () => {
      const listener: Parameters<typeof createServer>[1] = (_request, response) => {
        if (name.includes('ends')) response.useChunkedEncodingByDefault = false
        response.writeHead(200, headers).end(content)
      }
      const server = secure ? createSecureServer(certificate, listener) : createServer(listener)
      await using line = await connectTo(server as Server, secure ? 'https://localhost' : 'http://127.0.0.1')
      receptions.reset()
      isWhole(await line.draw())
      isWhole(await line.draw())
      assert.equal(receptions.all.length, 0)
    })
  }
})

const get = { kind: 'blob', method: 'GET' } as const

/** Of one blob, over as many connections as it takes. */
async function drawBlob(subject: Subject, digest: ReturnType<typeof digestOf>, span = whole): Promise<Drawn> {
  const { body } = (await subject.blob('a', digest, span, patience())) ?? assert.fail()
  return await draw(body as Readable)
}

describe('a blob that is resumed', { skip }, () => {
  for (const [name, cuts] of [
    ['cut once', [3 * MiB]],
    ['cut at many places', [1, 100, 65_536, chunk, chunk + 1, 0, 2 * MiB, 99_999]],
  ] as const) {
    it(`is right, and handed over as long as enough is left, ${name}`, async () => {
      await using test = await TestUpstream.start()
      await using subject = new Subject(test)
      const digest = test.addBlob('a', content)
      for (const cutAfter of cuts) test.fault(get, { cutAfter, times: 1 })
      receptions.reset()
      isWhole(await drawBlob(subject, digest))
      assert.equal(test.bytes(get), size)
      assert.equal(test.count(get), cuts.length + 1)
      const ends = receptions.all.map(({ end }) => end)
      assert.deepEqual(ends, [...cuts.filter((cut) => cut > 0).map(() => 'closed'), 'whole'])
    })
  }

  it('is not handed over where its start, or what is beyond its end, was not asked for', async () => {
    await using test = await TestUpstream.start()
    await using subject = new Subject(test)
    const digest = test.addBlob('a', content)
    test.fault(get, { ignoreRange: true })
    receptions.reset()
    for (const span of [
      { start: 1000, end: undefined },
      { start: 0, end: size - 2 },
    ]) {
      const { bytes, error } = await drawBlob(subject, digest, span)
      assert.deepEqual([bytes, error], [size - 1000 * Math.sign(span.start) - (span.end ? 1 : 0), undefined])
    }
    assert.equal(receptions.all.length, 0)
  })

  it('is not joined to what is longer than it should be', async () => {
    await using test = await TestUpstream.start()
    await using subject = new Subject(test)
    const digest = test.addBlob('a', content)
    test.fault(get, { cutAfter: 2 * MiB, times: 1 })
    const more = Buffer.alloc(size)
    test.fault(get, {
      status: 206,
      body: more,
      headers: { 'content-range': `bytes ${2 * MiB}-${2 * MiB + more.length - 1}/*` },
    })
    receptions.reset()
    const { bytes, error } = await drawBlob(subject, digest)
    assert.equal(receptions.all.length, 2)
    assert.ok(bytes <= size, `${bytes} bytes`)
    assert.equal((error as { kind?: string }).kind, 'protocol')
  })

  it('attempts no more often than it may where nothing comes', async () => {
    await using test = await TestUpstream.start()
    await using subject = new Subject(test)
    const digest = test.addBlob('a', content)
    test.fault(get, { cutAfter: 2 * MiB, times: 1 })
    test.fault(get, { cutAfter: 0 })
    const { bytes, error } = await drawBlob(subject, digest)
    assert.equal(bytes, 2 * MiB)
    assert.equal((error as { kind?: string }).kind, 'unreachable')
    assert.equal(test.count(get), 6)
  })

  it('has as many attempts again after every byte that a thread received', async () => {
    await using test = await TestUpstream.start()
    await using subject = new Subject(test, { limits: { resumeAttempts: 1 } })
    const digest = test.addBlob('a', content)
    test.fault(get, { cutAfter: MiB })
    isWhole(await drawBlob(subject, digest))
    assert.equal(test.count(get), 9)
  })
})
