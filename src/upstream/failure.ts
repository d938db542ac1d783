import { UpstreamError, type UpstreamErrorKind } from '../oci/error.ts'

const timeouts = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
const violations = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_EXCEEDED_MAX_SIZE',
  'UND_ERR_INVALID_ARG',
  'ERR_ASSERTION', // a status below 100
])
const brokenConnections = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** How much of an answer had come when it failed. */
export type Phase = 'head' | 'body'

/** Turns a failure below HTTP into an UpstreamError. `doing` names the request, without its query. */
export function toUpstreamError(upstream: string, doing: string, cause: unknown, phase: Phase): UpstreamError {
  if (cause instanceof UpstreamError) return cause
  const kind = kindOf(cause, phase)
  const detail = codeOf(cause) ?? (cause instanceof Error ? cause.name : 'unknown failure')
  const what = kind === 'protocol' ? `an answer that HTTP does not allow (${detail})` : detail
  // The parser's error contains the bytes that it could not parse, which may be a token.
  return new UpstreamError(upstream, kind, `${doing}: ${what}`, isParserError(cause) ? {} : { cause })
}

/** The error for a status that does not answer the request. `retryAfter` in seconds. */
export function statusError(
  upstream: string,
  what: string,
  status: number,
  retryAfter: number | undefined,
): UpstreamError {
  const kind = status === 429 ? 'rate-limited' : status >= 500 ? 'unavailable' : 'protocol'
  const options = { status, ...(retryAfter !== undefined && { retryAfter }) }
  return new UpstreamError(upstream, kind, `${what} answered ${status}`, options)
}

/** Whether a connection was made and then broke. */
export function isBrokenConnection(error: unknown): boolean {
  return error instanceof UpstreamError && brokenConnections.has(codeOf(error.cause) ?? '')
}

/**
 * Whether a request may have failed only because the server closed a kept connection at the same moment. A connection
 * that has carried an answer before was kept. With ECONNRESET and EPIPE nothing shows whether it was.
 */
export function isStaleConnection(cause: unknown): boolean {
  const code = codeOf(cause)
  if (code === 'ECONNRESET' || code === 'EPIPE') return true
  const { socket } = (cause ?? {}) as { socket?: { bytesRead?: number } | null }
  return code === 'UND_ERR_SOCKET' && (socket?.bytesRead ?? 0) > 0
}

function kindOf(cause: unknown, phase: Phase): UpstreamErrorKind {
  const code = codeOf(cause)
  if (code !== undefined && timeouts.has(code)) return 'timeout'
  if (isParserError(cause)) return isEndOfInput(cause) ? 'unreachable' : 'protocol'
  // Of a head, undici says this of anything that it cannot parse after a length. Of a body, it says that it broke off.
  if (code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') return phase === 'head' ? 'protocol' : 'unreachable'
  // An unexpected 101.
  if (code === 'UND_ERR_SOCKET' && cause instanceof Error && cause.message === 'bad upgrade') return 'protocol'
  return code !== undefined && violations.has(code) ? 'protocol' : 'unreachable'
}

/** The error of undici 8.12 has no code: undici looks it up in a table with keys and values exchanged. */
function isParserError(cause: unknown): boolean {
  return (cause instanceof Error && cause.name === 'HTTPParserError') || (codeOf(cause)?.startsWith('HPE_') ?? false)
}

/** The error for a chunked body that ends too early. */
function isEndOfInput(cause: unknown): boolean {
  return codeOf(cause) === 'HPE_INVALID_EOF_STATE' || /\bEOF\b/.test(cause instanceof Error ? cause.message : '')
}

function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : undefined
}
