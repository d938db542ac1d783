import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, createServer as createRawServer, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { createServer as createRawSecureServer, getCACertificates, setDefaultCACertificates } from 'node:tls'
import type { Body } from '../../../src/upstream/transfer/body.ts'
import { defaultLimits } from '../../../src/upstream/transfer/limits.ts'
import type { Response } from '../../../src/upstream/transfer/response.ts'
import { Transport } from '../../../src/upstream/transfer/transport.ts'
import { allOf, type Bytes, digestOfBytes, sliceSize, synthetic } from '../../support/bytes.ts'
import { selfSigned } from '../../support/certificate.ts'
import { until } from '../../support/wait.ts'
import { DrainedRing, type Pace, turns } from './drained-ring.ts'

const MB = 1_000_000
const certificate = selfSigned()
setDefaultCACertificates([...getCACertificates('default'), certificate.cert])

const protocols = ['http', 'https'] as const
type Protocol = (typeof protocols)[number]

/** Connections of one upstream, and the server at their other end. */
interface Line extends AsyncDisposable {
  readonly transport: Transport
  /** Connections so far. */
  readonly sockets: readonly Socket[]
  /** Of those over TLS: whether each went on with the session of an earlier one. */
  readonly resumed: readonly boolean[]
  send(path?: string, method?: 'GET' | 'HEAD'): Promise<Response>
}

async function connectTo(server: Server, protocol: Protocol): Promise<Line> {
  const sockets: Socket[] = []
  const resumed: boolean[] = []
  server.on('connection', (socket: Socket) => sockets.push(socket.on('error', () => {})))
  server.on('secureConnection', (socket) => resumed.push(socket.isSessionReused()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const transport = new Transport({ upstream: 'registry.test', limits: defaultLimits, now: () => 0 })
  return {
    transport,
    sockets,
    resumed,
    send: (path = '/', method = 'GET') =>
      transport.send({
        kind: 'blob',
        method,
        url: new URL(path, `${protocol}://${protocol === 'https' ? 'localhost' : '127.0.0.1'}:${port}`),
        headers: {},
        signal: new AbortController().signal,
      }),
    async [Symbol.asyncDispose]() {
      await transport[Symbol.asyncDispose]()
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

function serve(protocol: Protocol, listener: RequestListener): Promise<Line> {
  const server = protocol === 'http' ? createServer(listener) : createSecureServer(certificate, listener)
  return connectTo(server as Server, protocol)
}

/** Answers that are written byte by byte, the head too. */
function serveRaw(answer: (socket: Socket, path: string) => unknown, protocol: Protocol = 'http'): Promise<Line> {
  const listener = (socket: Socket) => {
    socket.on('error', () => {})
    socket.setNoDelay(true)
    socket.on('data', (request) => answer(socket, String(request).split(' ')[1] ?? ''))
  }
  const server = protocol === 'http' ? createRawServer(listener) : createRawSecureServer(certificate, listener)
  return connectTo(server as Server, protocol)
}

function* slices(bytes: Bytes, size = sliceSize): Generator<Buffer> {
  for (let at = 0; at < bytes.size; at += size) yield bytes.slice(at, Math.min(at + size, bytes.size))
}

/** Until a connection whose body has ended takes another request. */
function free(): Promise<void> {
  return turns(3)
}

/** Hashes each chunk as late as may be: so many turns of the event loop after it came, before the next is asked for. */
async function digestOf(body: Body, pace: number): Promise<string> {
  const hash = createHash('sha256')
  for (let chunk = await body.read(); chunk; chunk = await body.read()) {
    await turns(pace)
    hash.update(chunk)
  }
  return `sha256:${hash.digest('hex')}`
}

/** Waits until no more arrives of what a body has been sent; that is, until it is paused. */
async function atRest(socket: Socket): Promise<void> {
  for (let before = -1; before !== socket.bytesWritten; await turns(20)) before = socket.bytesWritten
}

for (const protocol of protocols) {
  describe(`bodies over ${protocol}`, () => {
    const bodies = [0, 1, 2, 5, 20].map((pace) => ({ pace, bytes: synthetic(3 * MB + pace, pace) }))

    for (const framing of ['by their length', 'in chunks'] as const) {
      it(`are right at once and side by side, ${framing}, whether their readers are fast or slow`, async () => {
        await using line = await serve(protocol, (request, response) => {
          const { bytes } = bodies[Number(request.url?.slice(1))] ?? assert.fail()
          if (framing === 'by their length') response.setHeader('content-length', bytes.size)
          Readable.from(slices(bytes)).pipe(response)
        })
        const got = await Promise.all(
          bodies.map(async ({ pace }, index) => digestOf((await line.send(`/${index}`)).body, pace)),
        )
        assert.deepEqual(
          got,
          bodies.map(({ bytes }) => digestOfBytes(bytes)),
        )
        assert.equal(line.sockets.length, bodies.length)
      })
    }

    it('leave their connection to the next, however slowly they were read', async () => {
      const bytes = synthetic(MB, 7)
      await using line = await serve(protocol, (_request, response) => {
        response.setHeader('content-length', bytes.size)
        Readable.from(slices(bytes)).pipe(response)
      })
      for (const pace of [3, 0, 1]) {
        assert.equal(await digestOf((await line.send()).body, pace), digestOfBytes(bytes))
        await free()
      }
      assert.equal(line.sockets.length, 1)
    })

    for (const size of [5, 100_000, 400_000]) {
      for (const framing of ['by its length', 'in chunks', 'by the end of the connection'] as const) {
        it(`of ${size} bytes is whole, ${framing}, where its end comes before its reader`, async () => {
          const bytes = synthetic(size, 8)
          await using line = await serve(protocol, (_request, response) => {
            if (framing === 'by its length') response.setHeader('content-length', size)
            if (framing === 'by the end of the connection') response.useChunkedEncodingByDefault = false
            response.end(bytes.slice(0, size))
            response.socket?.end()
          })
          const { body } = await line.send()
          await atRest(line.sockets[0] ?? assert.fail())
          assert.equal(await digestOf(body, 2), digestOfBytes(bytes))
        })
      }
    }

    it('say that they were cut, after what there was, where that happens while nobody reads', async () => {
      const bytes = synthetic(300_000, 9)
      await using line = await serve(protocol, (_request, response) => {
        response.setHeader('content-length', MB)
        response.write(bytes.slice(0, bytes.size))
        response.socket?.end()
      })
      const { body } = await line.send()
      await atRest(line.sockets[0] ?? assert.fail())
      const chunks: Buffer[] = []
      await assert.rejects(
        async () => {
          for (let chunk = await body.read(); chunk; chunk = await body.read()) {
            chunks.push(Buffer.from(chunk))
            await turns(2)
          }
        },
        { name: 'UpstreamError', kind: 'unreachable' },
      )
      assert.ok(Buffer.concat(chunks).equals(bytes.slice(0, bytes.size)))
    })

    it('that are empty end, and leave the connection to the next', async () => {
      await using line = await serve(protocol, (request, response) => {
        response.statusCode = Number(request.url?.slice(1))
        response.setHeader('content-length', request.method === 'HEAD' ? MB : 0)
        if (response.statusCode === 304 || response.statusCode === 204) response.removeHeader('content-length')
        response.end()
      })
      for (const [path, method] of [
        ['/204', 'GET'],
        ['/304', 'GET'],
        ['/200', 'HEAD'],
        ['/200', 'GET'],
        ['/307', 'GET'],
        ['/200', 'HEAD'],
      ] as const) {
        const { status, body } = await line.send(path, method)
        assert.equal(status, Number(path.slice(1)))
        assert.equal(await body.read(), undefined)
        await free()
      }
      assert.equal(line.sockets.length, 1)
    })

    it('that nobody wants are broken off when they are large, and leave the connection when they are small', async () => {
      const bytes = synthetic(3 * MB, 10)
      await using line = await serve(protocol, (request, response) => {
        const wanted = synthetic(Number(request.url?.slice(1)), 10)
        Readable.from(slices(wanted)).pipe(response)
      })
      for (let time = 0; time < 3; time += 1) {
        const { body } = await line.send('/5000')
        body.discard()
        await until(async () => (await body.read()) === undefined, 'the rest to be read')
        await free()
      }
      assert.equal(line.sockets.length, 1)
      const { body } = await line.send(`/${bytes.size}`)
      body.discard()
      await until(() => line.sockets[0]?.closed, 'the connection to be broken')
      assert.equal(await digestOf((await line.send(`/${bytes.size}`)).body, 1), digestOfBytes(bytes))
      assert.equal(line.sockets.length, 2)
    })
  })
}

describe('a connection over TLS', () => {
  it('goes on with the session of an earlier one', async () => {
    await using line = await serve('https', (_request, response) => {
      response.setHeader('connection', 'close').end('hello')
    })
    for (let time = 0; time < 3; time += 1) {
      const { body } = await line.send()
      assert.equal(String(await body.readAll(100)), 'hello')
    }
    assert.deepEqual(line.resumed, [false, true, true])
  })
})

describe('the head of an answer', () => {
  const value = 'a value that must not become another '.repeat(30)
  const fields = Array.from({ length: 20 }, (_, field) => `X-Field-${field}: ${value}${field}\r\n`)
  const head = `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${fields.join('')}\r\n`
  const noise = synthetic(20 * MB, 11)

  for (const { name, hints } of [
    { name: 'is right though it comes in pieces, and other bodies between them', hints: '' },
    { name: 'is right after hints that came before it', hints: 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' },
  ]) {
    it(name, async () => {
      await using line = await serveRaw(async (socket, path) => {
        if (path === '/noise') {
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${noise.size}\r\n\r\n`)
          Readable.from(slices(noise)).pipe(socket, { end: false })
          return
        }
        const text = hints + head
        for (let at = 0; at < text.length; at += 1500) {
          socket.write(text.slice(at, at + 1500))
          await turns(3)
        }
        socket.write('12345')
      })
      const beside = line.send('/noise').then(({ body }) => digestOf(body, 0))
      // The second on the connection of the first.
      for (let time = 0; time < 3; time += 1) {
        const { status, headers, body } = await line.send('/head')
        assert.equal(status, 200)
        for (let field = 0; field < 20; field += 1) assert.equal(headers[`x-field-${field}`], `${value}${field}`)
        assert.equal(Object.keys(headers).length, 21)
        assert.equal(String(await body.readAll(100)), '12345')
        await free()
      }
      assert.equal(await beside, digestOfBytes(noise))
      assert.equal(line.sockets.length, 2)
    })
  }

  it('is right after a large body on the same connection', async () => {
    const bytes = synthetic(2 * MB, 12)
    await using line = await serveRaw(async (socket, path) => {
      const large = path === '/large'
      const text = large ? head.replace('Length: 5', `Length: ${bytes.size}`) : head
      for (let at = 0; at < text.length; at += 1500) {
        socket.write(text.slice(at, at + 1500))
        await turns(3)
      }
      if (large) Readable.from(slices(bytes)).pipe(socket, { end: false })
      else socket.write('12345')
    })
    for (const path of ['/large', '/small', '/large']) {
      const { headers, body } = await line.send(path)
      for (let field = 0; field < 20; field += 1) assert.equal(headers[`x-field-${field}`], `${value}${field}`)
      if (path === '/large') assert.equal(await digestOf(body, 1), digestOfBytes(bytes))
      else assert.equal(String(await body.readAll(100)), '12345')
      await free()
    }
    assert.equal(line.sockets.length, 1)
  })
})

describe('a body of 200 MB', () => {
  for (const pace of [0, 1]) {
    it(`costs next to no memory, read ${pace === 0 ? 'fast' : 'slowly'}`, async () => {
      const size = 200 * MB
      const slice = Buffer.alloc(sliceSize, 1)
      await using line = await serve('http', (_request, response) => {
        response.setHeader('content-length', size)
        const parts = function* () {
          for (let at = 0; at < size; at += sliceSize) yield slice.subarray(0, Math.min(sliceSize, size - at))
        }
        Readable.from(parts()).pipe(response)
      })
      const { body } = await line.send()
      await body.read()
      const held = (): number => process.memoryUsage().arrayBuffers
      const start = held()
      let most = start
      for (let chunk = await body.read(); chunk; chunk = await body.read()) {
        await turns(pace)
        most = Math.max(most, held())
      }
      assert.ok(most - start < 8 * MB, `${most - start} bytes more`)
    })
  }
})

const pattern = Buffer.alloc(256 * 1024, 'whose is this? ')

/** Fills the memory of a ring that is done with; returns what says whether somebody wrote to it since. */
function claim(ring: DrainedRing): () => boolean {
  const bytes = Buffer.from(ring.memory.bytes)
  pattern.copy(bytes)
  return () => bytes.equals(pattern)
}

async function intoRing(body: Body, pace: Pace): Promise<DrainedRing> {
  const ring = new DrainedRing()
  await ring.takeFrom(body, pace)
  return ring
}

const KiB = 1024
const paces: readonly { readonly name: string; readonly pace: Pace }[] = [
  { name: 'at once', pace: { every: 1 } },
  { name: 'little by little', pace: { every: 1, most: 30_000 } },
  { name: 'in bursts', pace: { every: 9 } },
  { name: 'when it has long been full', pace: 'when full' },
]

for (const protocol of protocols) {
  describe(`bodies over ${protocol} into the memory of their reader`, () => {
    for (const framing of ['by their length', 'in chunks', 'by the end of the connection'] as const) {
      for (const { name, pace } of paces) {
        it(`are right ${framing}, in all sizes, where it is emptied ${name}`, async () => {
          const sizes = [128, 256].flatMap((KiBs) => [-1, 0, 1].map((more) => KiBs * KiB + more))
          for (const size of [1, 1000, 100_000, ...sizes, 2 * MB + 1]) {
            // Each in pieces that fit to nothing.
            const bytes = synthetic(size, size)
            await using line = await serve(protocol, (_request, response) => {
              if (framing === 'by their length') response.setHeader('content-length', size)
              if (framing === 'by the end of the connection') response.useChunkedEncodingByDefault = false
              Readable.from(slices(bytes, 31_337)).pipe(response)
            })
            const ring = await intoRing((await line.send()).body, pace)
            assert.equal(ring.drained, size)
            assert.equal(ring.digest, digestOfBytes(bytes))
            if (framing === 'by their length' && size > MB) assert.ok(ring.inPlace > size / 2, `${ring.inPlace}`)
          }
        })
      }
    }

    it('are right where they come byte by byte, or their head comes alone', async () => {
      for (const size of [1, 300, 100_000, 128 * KiB, 128 * KiB + 1, 300_000]) {
        const bytes = synthetic(size, 13)
        await using line = await serveRaw(async (socket) => {
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
          await turns(20)
          for (const slice of slices(bytes, Math.ceil(size / 150))) {
            socket.write(slice)
            await turns(2)
          }
        }, protocol)
        for (const pace of [{ every: 1 }, 'when full'] as const) {
          const ring = await intoRing((await line.send()).body, pace)
          assert.equal(ring.drained, size)
          assert.equal(ring.digest, digestOfBytes(bytes))
          await free()
        }
        assert.equal(line.sockets.length, 1)
      }
    })

    it('leave their connection to other answers, which keep out of it', async () => {
      const large = synthetic(MB, 14)
      const other = synthetic(MB + 1, 15)
      await using line = await serve(protocol, (request, response) => {
        const bytes = { '/large': large, '/other': other }[request.url ?? ''] ?? synthetic(5000, 16)
        response.statusCode = request.url === '/absent' ? 404 : 200
        response.setHeader('content-length', bytes.size)
        if (request.method === 'HEAD') response.end()
        else Readable.from(slices(bytes)).pipe(response)
      })
      for (const { pace } of paces) {
        const ring = await intoRing((await line.send('/large')).body, pace)
        assert.equal(ring.digest, digestOfBytes(large))
        const isUntouched = claim(ring)
        await free()
        assert.equal(await digestOf((await line.send('/small')).body, 1), digestOfBytes(synthetic(5000, 16)))
        await free()
        const head = await line.send('/large', 'HEAD')
        assert.equal(await head.body.read(), undefined)
        await free()
        const absent = await line.send('/absent')
        assert.equal(absent.status, 404)
        absent.body.discard()
        await turns(10)
        const second = await intoRing((await line.send('/other')).body, pace)
        assert.equal(second.digest, digestOfBytes(other))
        const isSecondUntouched = claim(second)
        await free()
        assert.equal(await digestOf((await line.send('/large')).body, 1), digestOfBytes(large))
        await free()
        assert.ok(isUntouched())
        assert.ok(isSecondUntouched())
        // Closed ones are used again.
        ring.close()
        second.close()
      }
      assert.equal(line.sockets.length, 1)
    })

    it('are right side by side, each in its own', async () => {
      const bodies = [0, 1, 2, 3, 4, 5].map((seed) => synthetic(3 * MB + seed, 20 + seed))
      await using line = await serve(protocol, (request, response) => {
        const bytes = bodies[Number(request.url?.slice(1))] ?? assert.fail()
        if (request.url !== '/5') response.setHeader('content-length', bytes.size)
        Readable.from(slices(bytes, 50_000)).pipe(response)
      })
      for (let time = 0; time < 2; time += 1) {
        const got = await Promise.all(
          bodies.map(async (_bytes, index) => {
            const { pace } = paces[index % paces.length] ?? assert.fail()
            return (await intoRing((await line.send(`/${index}`)).body, pace)).digest
          }),
        )
        assert.deepEqual(got, bodies.map(digestOfBytes))
        await free()
      }
      assert.equal(line.sockets.length, bodies.length)
    })

    it('may come to it in the midst, after what was received elsewhere', async () => {
      const bytes = synthetic(3 * MB, 30)
      await using line = await serve(protocol, (_request, response) => {
        response.setHeader('content-length', bytes.size)
        Readable.from(slices(bytes, 70_001)).pipe(response)
      })
      for (const elsewhere of [1, 2, 3, 10]) {
        const { body } = await line.send()
        const ring = new DrainedRing()
        await ring.drainDuring({ every: 2 }, async () => {
          for (let chunks = 1; ; chunks += 1) {
            const chunk = await body.read()
            if (!chunk) break
            await turns(chunks % 3)
            await ring.pass(chunk)
            if (chunks >= elsewhere) body.receiveInto(ring)
          }
        })
        assert.equal(ring.digest, digestOfBytes(bytes))
        assert.ok(ring.inPlace > MB / 2, `${ring.inPlace}`)
        await free()
      }
      assert.equal(line.sockets.length, 1)
    })

    for (const how of ['after a chunk', 'while it waits', 'while the memory is full'] as const) {
      it(`leave it alone when they are closed ${how}`, async () => {
        const bytes = synthetic(20 * MB, 31)
        await using line = await serve(protocol, (_request, response) => {
          response.setHeader('content-length', bytes.size)
          const all = how === 'while it waits' ? synthetic(MB, 31) : bytes
          Readable.from(slices(all)).pipe(response, { end: false })
        })
        for (const after of [1, 2, 5]) {
          const { body } = await line.send()
          const ring = new DrainedRing()
          body.receiveInto(ring)
          if (how === 'while it waits') {
            let received = 0
            while (received < MB) {
              const chunk = (await body.read()) ?? assert.fail()
              received += chunk.length
              ring.put(chunk)
              ring.empty()
            }
            const waiting = assert.rejects(body.read(), { name: 'UpstreamError' })
            body.close()
            await waiting
          } else {
            for (let chunks = 0; chunks < after; chunks += 1) {
              ring.put((await body.read()) ?? assert.fail())
              ring.empty()
            }
            if (how === 'while the memory is full') {
              const waiting = ring.hasRoom ? await body.read() : undefined
              if (waiting) ring.put(waiting)
              await turns(20)
            }
            body.close()
          }
          const isUntouched = claim(ring)
          await turns(20)
          assert.ok(isUntouched())
        }
      })
    }

    it('end where their length says, whatever the server sends beyond it', async () => {
      const bytes = synthetic(400_000, 32)
      const more = synthetic(100_000, 33)
      await using line = await serveRaw((socket) => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.size}\r\n\r\n`)
        socket.write(Buffer.concat([allOf(bytes), allOf(more)]))
      }, protocol)
      for (const { pace } of paces) {
        const ring = await intoRing((await line.send()).body, pace)
        assert.equal(ring.drained, bytes.size)
        assert.equal(ring.digest, digestOfBytes(bytes))
        const isUntouched = claim(ring)
        await turns(20)
        assert.ok(isUntouched())
      }
      // The connection is not used again.
      assert.equal(line.sockets.length, paces.length)
    })

    it('say that they were cut, after what there was', async () => {
      const bytes = synthetic(700_000, 34)
      for (const end of ['end', 'reset'] as const) {
        await using line = await serve(protocol, (_request, response) => {
          response.setHeader('content-length', MB)
          response.write(allOf(bytes), () => {
            if (end === 'end') response.socket?.end()
            else setTimeout(() => response.socket?.destroy(), 5)
          })
        })
        for (const { pace } of paces) {
          const ring = new DrainedRing()
          await assert.rejects(ring.takeFrom((await line.send()).body, pace), {
            name: 'UpstreamError',
            kind: 'unreachable',
          })
          assert.equal(ring.drained, bytes.size)
          assert.equal(ring.digest, digestOfBytes(bytes))
        }
      }
    })

    it('are refused where they have both a length and chunks', async () => {
      await using line = await serveRaw((socket) => {
        const head = 'HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nTransfer-Encoding: chunked\r\n\r\n'
        socket.write(Buffer.concat([Buffer.from(`${head}30d40\r\n`), allOf(synthetic(200_000, 35))]))
      }, protocol)
      await assert.rejects(line.send(), { name: 'UpstreamError' })
    })
  })
}

describe('a body of 200 MB into the memory of its reader', () => {
  for (const protocol of protocols) {
    for (const framing of ['by its length', 'in chunks', 'by the end of the connection'] as const) {
      it(`costs next to no memory over ${protocol}, ${framing}`, async () => {
        const size = 200 * MB
        const slice = Buffer.alloc(50_000, 1)
        await using line = await serve(protocol, (_request, response) => {
          if (framing === 'by its length') response.setHeader('content-length', size)
          if (framing === 'by the end of the connection') response.useChunkedEncodingByDefault = false
          const parts = function* () {
            for (let at = 0; at < size; at += slice.length) yield slice
          }
          Readable.from(parts()).pipe(response)
        })
        const ring = await intoRing((await line.send()).body, { every: 2 })
        assert.equal(ring.drained, size)
        assert.ok(ring.mostElsewhere <= 128 * KiB, `${ring.mostElsewhere} bytes elsewhere at once`)
        assert.ok(ring.elsewhere < 0.6 * size, `${ring.elsewhere} bytes elsewhere`)
        if (framing === 'by its length') assert.ok(ring.inPlace > 0.7 * size, `${ring.inPlace} bytes in place`)
      })
    }
  }
})
