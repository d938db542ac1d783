import {
  ContentMismatch,
  type ErrorCode,
  errorCodes,
  RegistryError,
  UpstreamError,
  type UpstreamErrorKind,
} from '../oci/error.ts'
import type { Answer } from './answers.ts'

/** The code for each failure of an upstream. An outage is never a 404, and an upstream's own challenge is never passed on. */
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

/** The one place where an error becomes HTTP: the envelope of the distribution-spec, "Error codes". */
export function errorAnswer(error: unknown): Pick<Answer, 'status' | 'headers'> & { readonly body: Buffer } {
  const { code, message, detail, retryAfter: asked } = toRegistryError(error)
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message, detail }] }))
  const headers = ['Content-Type', 'application/json']
  const seconds = asked ?? retryAfter[code]
  if (seconds !== undefined) headers.push('Retry-After', `${Math.max(1, Math.ceil(seconds))}`)
  if (code === 'UNSUPPORTED') headers.push('Allow', 'GET, HEAD')
  if (code === 'RANGE_INVALID') headers.push('Content-Range', `bytes */${(detail as { size: number }).size}`)
  return { status: errorCodes[code].status, headers: [...headers, 'Content-Length', `${body.length}`], body }
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
