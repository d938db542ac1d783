/**
 * Every error code this server sends, with its status and message: the codes of the distribution-spec ("Error codes"),
 * and our own for what the spec leaves to HTTP: several ranges (400), 416, 500, 502, 503 and 504.
 */
export const errorCodes = {
  BLOB_UNKNOWN: { status: 404, message: 'blob unknown to registry' },
  DENIED: { status: 403, message: 'requested access to the resource is denied' },
  DIGEST_INVALID: { status: 400, message: 'provided digest is not valid' },
  MANIFEST_UNKNOWN: { status: 404, message: 'manifest unknown to registry' },
  NAME_INVALID: { status: 400, message: 'invalid repository name' },
  NAME_UNKNOWN: { status: 404, message: 'repository name not known to registry' },
  RANGE_INVALID: { status: 416, message: 'requested range is not inside the content' },
  RANGES_UNSUPPORTED: { status: 400, message: 'more than one range in a request is not supported' },
  TOOMANYREQUESTS: { status: 429, message: 'upstream registry limits the rate of requests' },
  UNAVAILABLE: { status: 503, message: 'upstream registry unavailable' },
  UNKNOWN: { status: 500, message: 'internal error' },
  UNSUPPORTED: { status: 405, message: 'the operation is unsupported' },
  UPSTREAM_INVALID: { status: 502, message: 'upstream registry sent an invalid answer' },
  UPSTREAM_TIMEOUT: { status: 504, message: 'upstream registry did not answer in time' },
} as const satisfies Record<string, { status: number; message: string }>

export type ErrorCode = keyof typeof errorCodes

export interface RegistryErrorOptions extends ErrorOptions {
  /** Sent to the client: a sentence for a person, or structured data. */
  readonly detail?: unknown
  /** Seconds, for `Retry-After`. */
  readonly retryAfter?: number
}

/** An error for the client. Its code, message and detail are sent; its cause is not. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError'
  readonly code: ErrorCode
  readonly detail: unknown
  readonly retryAfter: number | undefined

  constructor(code: ErrorCode, options: RegistryErrorOptions = {}) {
    super(errorCodes[code].message, options)
    this.code = code
    this.detail = options.detail
    this.retryAfter = options.retryAfter
  }
}

/**
 * Why an upstream could not answer. Absence is never one of these.
 *
 * - `unreachable`: no connection, or it broke
 * - `timeout`: connected, but silent for too long
 * - `rate-limited`: 429
 * - `unavailable`: 5xx, or an answer that came from no registry
 * - `denied`: our own login was refused, or a registry that needs one has none configured
 * - `protocol`: an answer that the specs do not allow, or that exceeds a limit on size or redirects
 */
export type UpstreamErrorKind = 'unreachable' | 'timeout' | 'rate-limited' | 'unavailable' | 'denied' | 'protocol'

export interface UpstreamErrorOptions extends ErrorOptions {
  readonly status?: number
  /** Seconds, as the upstream asked. */
  readonly retryAfter?: number
}

/** A failure of a remote registry. The message is logged: it has no secrets. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly upstream: string
  readonly kind: UpstreamErrorKind
  readonly status: number | undefined
  readonly retryAfter: number | undefined

  constructor(upstream: string, kind: UpstreamErrorKind, message: string, options: UpstreamErrorOptions = {}) {
    super(`${upstream}: ${message}`, options)
    this.upstream = upstream
    this.kind = kind
    this.status = options.status
    this.retryAfter = options.retryAfter
  }
}

/** A body that does not match its digest or declared size. */
export class ContentMismatch extends Error {
  override readonly name = 'ContentMismatch'
  readonly expected: string
  readonly actual: string

  constructor(expected: string, actual: string) {
    super(`content mismatch: expected ${expected}, got ${actual}`)
    this.expected = expected
    this.actual = actual
  }
}
