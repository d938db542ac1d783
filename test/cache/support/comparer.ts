import { connect } from 'node:net'

export interface Compared {
  readonly status: number
  readonly contentLength: number
  /** Of the body, until the connection ended or the body was whole. */
  readonly bytes: number
  /** Whether they were those expected, all of them. */
  readonly same: boolean
}

const headLimit = 16 * 1024

/**
 * Gets a body and compares it with what it should be: so cheap, for it neither hashes nor allocates, that dozens of
 * clients can read hundreds of megabytes each. Bodies with a Content-Length only.
 */
export function compare(url: string, expected: Buffer): { answered: Promise<void>; compared: Promise<Compared> } {
  const { hostname, port, pathname } = new URL(url)
  const { promise: compared, resolve, reject } = Promise.withResolvers<Compared>()
  const answered = Promise.withResolvers<void>()
  let head = Buffer.alloc(0)
  let [status, contentLength] = [0, 0]
  let bytes = 0
  let same = true
  const take = (chunk: Buffer): void => {
    same &&= chunk.equals(expected.subarray(bytes, bytes + chunk.length))
    bytes += chunk.length
  }
  const takeHead = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0 && head.length < headLimit) return
    const text = head.toString('latin1', 0, end)
    status = Number(text.split(' ')[1])
    contentLength = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1])
    take(head.subarray(end + 4))
    answered.resolve()
  }
  const callback = (length: number, buffer: Uint8Array): boolean => {
    const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, length)
    if (status > 0) take(chunk)
    else takeHead(chunk)
    if (bytes >= contentLength && status > 0) socket.destroy()
    return true
  }
  const onread = { buffer: Buffer.alloc(256 * 1024), callback }
  const socket = connect({ host: hostname, port: Number(port), onread })
  socket.on('error', reject)
  socket.on('close', () => {
    answered.resolve()
    resolve({ status, contentLength, bytes, same: same && bytes === expected.length })
  })
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`)
  return { answered: answered.promise, compared }
}
