import type { Answer } from './answers.ts'
import { sendBody } from './body.ts'
import { errorAnswer } from './errors.ts'
import type { Exchange } from './exchange.ts'
import { httpWriter } from './response-writer.ts'
import { namespaceHeader } from './route.ts'

/** Headers of every answer, names and values in turn. A browser must not take a stranger's bytes for a page of this origin. */
export const commonHeaders = [
  'Docker-Distribution-API-Version',
  'registry/2.0',
  'X-Content-Type-Options',
  'nosniff',
] as const

/** Up to this many bytes, a copy of the body as text costs less than a second write to the connection. */
const maxText = 16 * 1024

/**
 * Writes an answer to a node:http response. Rejects where the body could not be sent whole; then the connection is cut.
 * `clientTimeout`: milliseconds a client may go without taking a byte.
 */
export async function respond(
  exchange: Exchange,
  { status, headers, body }: Pick<Answer, 'status' | 'headers' | 'body'>,
  clientTimeout: number,
): Promise<void> {
  const { response } = exchange
  if (body !== undefined && !Buffer.isBuffer(body)) {
    const { reader, length } = body
    try {
      begin()
    } catch (error) {
      await reader.close()
      throw error
    }
    await sendBody(httpWriter(response), reader, { length, clientTimeout, tally: exchange })
    return
  }
  // The client has left, and node:http would raise an error about what comes after that.
  if (response.destroyed) return
  begin()
  if (body === undefined) {
    response.end()
    return
  }
  exchange.bytes = body.length
  if (body.length > maxText) response.end(body)
  else response.end(body.toString('latin1'), 'latin1')

  function begin(): void {
    response.writeHead(status, [...commonHeaders, 'X-Request-Id', exchange.id, ...headers])
    exchange.headersSent()
  }
}

/** Tells the client of an error, unless an answer has begun. */
export async function refuse(exchange: Exchange, error: unknown): Promise<void> {
  exchange.error = error
  if (exchange.response.headersSent) return
  const { status, headers, body } = errorAnswer(error)
  const { route, method } = exchange
  const fields = [...(route ? namespaceHeader(route) : []), ...headers]
  await respond(exchange, { status, headers: fields, body: method === 'HEAD' ? undefined : body }, 0)
}
