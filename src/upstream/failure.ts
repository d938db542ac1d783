import { UpstreamError, type UpstreamErrorKind } from '../oci/error.ts'

const timeouts = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
const violations = new Set(['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_EXCEEDED_MAX_SIZE', 'UND_ERR_INVALID_ARG'])
const brokenConnections = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** Turns a failure below HTTP into an UpstreamError. `doing` names the request, without its query. */
export function toUpstreamError(upstream: string, doing: string, cause: unknown): UpstreamError {
  if (cause instanceof UpstreamError) return cause
  const code = codeOf(cause)
  const detail = code ?? (cause instanceof Error ? cause.name : 'unknown failure')
  // The parser's error contains the bytes that it could not parse, which may be a token.
  const options = code?.startsWith('HPE_') ? {} : { cause }
  return new UpstreamError(upstream, kindOf(code), `${doing}: ${detail}`, options)
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

function kindOf(code: string | undefined): UpstreamErrorKind {
  if (code === undefined) return 'unreachable'
  if (timeouts.has(code)) return 'timeout'
  if (code === 'HPE_INVALID_EOF_STATE') return 'unreachable' // a chunked body that ends too early
  return violations.has(code) || code.startsWith('HPE_') ? 'protocol' : 'unreachable'
}

function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : undefined
}
