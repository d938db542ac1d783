import type { IncomingMessage } from 'node:http'

/** A request whose response depends on nothing but the text of its head. */
export interface CacheableRequest {
  readonly method: 'GET' | 'HEAD'
  readonly url: string
  readonly userAgent: string | undefined
  readonly range: string | undefined
  /** The head, written out as clients do: one character a byte. */
  readonly text: string
}

/**
 * Headers that change no response, and Range. A request with any other header is not cacheable: it may have a body, carry
 * a secret, or differ from every other request.
 */
const allowedHeaders = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'connection',
  'docker-distribution-api-version',
  'host',
  'pragma',
  'range',
  'user-agent',
])

/** Undefined for a request with a body, a condition or an unknown header, and for one that ends its connection. */
export function cacheableRequest(
  request: Pick<IncomingMessage, 'method' | 'url' | 'httpVersion' | 'rawHeaders' | 'headers'>,
): CacheableRequest | undefined {
  const { method, url = '', httpVersion, rawHeaders, headers } = request
  if ((method !== 'GET' && method !== 'HEAD') || httpVersion !== '1.1') return undefined
  let text = `${method} ${url} HTTP/1.1\r\n`
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = [rawHeaders[at], rawHeaders[at + 1]]
    const lower = name.toLowerCase()
    if (!allowedHeaders.has(lower) || (lower === 'connection' && value.toLowerCase() !== 'keep-alive')) return undefined
    text += `${name}: ${value}\r\n`
  }
  return { method, url, userAgent: headers['user-agent'], range: headers.range, text: `${text}\r\n` }
}
