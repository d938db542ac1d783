import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, createServer as createRawServer, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import type { Body } from '../../src/upstream/body.ts'
import { defaultLimits } from '../../src/upstream/limits.ts'
import type { Response } from '../../src/upstream/response.ts'
import { Transport } from '../../src/upstream/transport.ts'
import { type Bytes, digestOfBytes, sliceSize, synthetic } from '../support/bytes.ts'
import { selfSigned } from '../support/certificate.ts'
import { until } from '../support/wait.ts'

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
function serveRaw(answer: (socket: Socket, path: string) => unknown): Promise<Line> {
  const server = createRawServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (request) => answer(socket, String(request).split(' ')[1] ?? ''))
  })
  return connectTo(server as Server, 'http')
}

function* slices(bytes: Bytes): Generator<Buffer> {
  for (let at = 0; at < bytes.size; at += sliceSize) yield bytes.slice(at, Math.min(at + sliceSize, bytes.size))
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
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
