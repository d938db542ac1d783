import {
  ContentMismatch,
  type ErrorCode,
  errorCodes,
  RegistryError,
  UpstreamError,
  type UpstreamErrorKind,
} from '../oci/error.ts'

/** How a failing upstream is told. An outage is never a 404, and an upstream's own challenge is never passed on. */
const upstreamCodes = {
  unreachable: 'UNAVAILABLE',
  unavailable: 'UNAVAILABLE',
  denied: 'UNAVAILABLE',
  timeout: 'UPSTREAM_TIMEOUT',
  'rate-limited': 'TOOMANYREQUESTS',
  protocol: 'UPSTREAM_INVALID',
} as const satisfies Record<UpstreamErrorKind, ErrorCode>

/** Seconds, for `Retry-After` where the upstream did not say. */
const retryAfter: Partial<Record<ErrorCode, number>> = { UNAVAILABLE: 5, UPSTREAM_TIMEOUT: 5, TOOMANYREQUESTS: 60 }

export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** The one place where an error becomes HTTP: the envelope of the distribution-spec, "Error codes". */
export function errorAnswer(error: unknown): ErrorAnswer {
  const told = toRegistryError(error)
  const { status } = errorCodes[told.code]
  const seconds = told.retryAfter ?? retryAfter[told.code]
  const entry = { code: told.code, message: told.message, detail: told.detail }
  const body = Buffer.from(JSON.stringify({ errors: [entry] }))
  const headers: Record<string, string> = { 'Content-Type': 'application/json' }
  if (seconds !== undefined) headers['Retry-After'] = String(Math.max(1, Math.ceil(seconds)))
  if (told.code === 'UNSUPPORTED') headers['Allow'] = 'GET, HEAD'
  if (told.code === 'RANGE_INVALID') headers['Content-Range'] = `bytes */${(told.detail as { size: number }).size}`
  return { status, headers, body }
}

function toRegistryError(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error
  if (error instanceof UpstreamError) {
    const options = { detail: error.message, cause: error }
    return new RegistryError(
      upstreamCodes[error.kind],
      error.retryAfter === undefined ? options : { ...options, retryAfter: error.retryAfter },
    )
  }
  if (error instanceof ContentMismatch)
    return new RegistryError('UPSTREAM_INVALID', { detail: error.message, cause: error })
  return new RegistryError('UNKNOWN', { cause: error })
}
