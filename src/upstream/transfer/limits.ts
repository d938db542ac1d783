/** What a remote registry may cost us. Times in milliseconds, sizes in bytes. */
export interface UpstreamLimits {
  /** Until connected, name lookup and TLS included. */
  readonly connect: number
  /** From the request sent to the response's headers, each hop. */
  readonly headers: number
  /** Without a byte of a body while somebody waits for one. */
  readonly stall: number
  /** For a token, redirects included. */
  readonly token: number
  readonly headerBytes: number
  readonly tokenBytes: number
  /** Of a manifest, as sent and after undoing a content encoding. */
  readonly manifestBytes: number
  /** Hops followed after the first answer. */
  readonly redirects: number
  /** Attempts in a row to resume a body without one byte more. */
  readonly resumeAttempts: number
  /** Before the first attempt to resume; doubled for each one more. */
  readonly resumeDelay: number
  readonly resumeDelayMax: number
  /** How long an attempt to resume obeys `Retry-After`. */
  readonly resumeRetryAfterMax: number
  /** The first rest after a failure; doubled for each failure more. */
  readonly rest: number
  readonly restMax: number
  /** How long a rest obeys `Retry-After`. */
  readonly restRetryAfterMax: number
  /** How long a refused login is not tried again. */
  readonly refusedLogin: number
}

const second = 1000
const minute = 60 * second
const KiB = 1024

export const defaultLimits: UpstreamLimits = {
  connect: 5 * second,
  headers: 15 * second,
  stall: 30 * second,
  token: 10 * second,
  headerBytes: 32 * KiB,
  tokenBytes: 64 * KiB,
  manifestBytes: 8 * KiB * KiB,
  redirects: 6,
  resumeAttempts: 5,
  resumeDelay: 50,
  resumeDelayMax: 2 * second,
  resumeRetryAfterMax: 10 * second,
  rest: 5 * second,
  restMax: minute,
  restRetryAfterMax: 60 * minute,
  refusedLogin: 15 * minute,
}
