import type { IncomingMessage } from 'node:http'

export type HeadMethod = 'GET' | 'HEAD'

export interface PlainHead {
  readonly method: HeadMethod
  readonly url: string
  readonly userAgent: string | undefined
  readonly range: string | undefined
  /** Written out as clients do: the bytes of such a request, each a character. */
  readonly text: string
}

/**
 * Headers that no answer depends on, and the one that says which part is wanted. With any other the request is not plain:
 * it may have a body, bring a secret, or be unlike every other one.
 */
const plain = new Set([
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

/** A parsed request as a plain question: no body, no condition, over a connection that stays. Else undefined. */
export function plainHead(
  request: Pick<IncomingMessage, 'method' | 'url' | 'httpVersion' | 'rawHeaders' | 'headers'>,
): PlainHead | undefined {
  const { method, url = '', httpVersion, rawHeaders, headers } = request
  if ((method !== 'GET' && method !== 'HEAD') || httpVersion !== '1.1') return undefined
  let text = `${method} ${url} HTTP/1.1\r\n`
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = [rawHeaders[at], rawHeaders[at + 1]]
    const lower = name.toLowerCase()
    if (!plain.has(lower) || (lower === 'connection' && value.toLowerCase() !== 'keep-alive')) return undefined
    text += `${name}: ${value}\r\n`
  }
  return { method, url, userAgent: headers['user-agent'], range: headers.range, text: `${text}\r\n` }
}
