import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { httpWriter, type ResponseWriter, socketWriter } from '../../src/http/response-writer.ts'

/** A request, and the answer that it is to get. */
export interface Asked {
  readonly path: string
  /** With a body of so many bytes, or in chunks where that is undefined, after bytes that come `before` it. */
  answer(length: number | undefined, before?: Buffer): ResponseWriter
}

/** Resolves when the answer has been given, however that went. */
export type Give = (asked: Asked) => Promise<unknown>

export interface AnswerServer extends AsyncDisposable {
  /** `http://127.0.0.1:1234`. */
  readonly url: string
}

/** Answers by node:http. */
export async function responseServer(give: Give): Promise<AnswerServer> {
  const server = createHttpServer((request, response) => {
    const answer = (length: number | undefined, before: Buffer = Buffer.alloc(0)): ResponseWriter => {
      if (length !== undefined) response.setHeader('Content-Length', before.length + length)
      if (before.length > 0) response.write(before)
      return httpWriter(response)
    }
    void give({ path: request.url ?? '', answer })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: urlOf(server.address()),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Answers by connections alone, on each of them one request after the other. */
export async function socketServer(give: Give): Promise<AnswerServer> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket)
    let text = ''
    let given: Promise<unknown> = Promise.resolve()
    socket
      .on('error', () => {})
      .on('close', () => sockets.delete(socket))
      .on('end', () => void given.then(() => socket.end()))
      .on('data', (piece) => {
        const heads = `${text}${piece.toString('latin1')}`.split('\r\n\r\n')
        text = heads.pop() ?? ''
        for (const head of heads) {
          const [, path = ''] = head.split(' ', 2)
          given = given.then(() => give({ path, answer: (length, before) => bySocket(socket, length, before) }))
        }
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: urlOf(server.address()),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

function bySocket(socket: Socket, length: number | undefined, before: Buffer = Buffer.alloc(0)): ResponseWriter {
  if (length === undefined) throw new Error('a connection alone has no chunks')
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${before.length + length}\r\n\r\n`
  return socketWriter(socket, `${head}${before.toString('latin1')}`)
}

function urlOf(address: AddressInfo | string | null): string {
  return `http://127.0.0.1:${(address as AddressInfo).port}`
}
