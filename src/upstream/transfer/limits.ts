const second = 1000
const minute = 60 * second
const KiB = 1024

/** What a remote registry may cost us, unless told otherwise. Times in milliseconds, sizes in bytes. */
export const defaultLimits = {
  /** Until connected, name lookup and TLS included. */
  connect: 5 * second,
  /** From the request sent to the response's headers, each hop. */
  headers: 15 * second,
  /** Without a byte of a body that is being received. */
  stall: 30 * second,
  /** For a token, redirects included. */
  token: 10 * second,
  headerBytes: 32 * KiB,
  tokenBytes: 64 * KiB,
  /** Of a manifest, as sent and after undoing a content encoding. */
  manifestBytes: 8 * KiB * KiB,
  /** Hops followed after the first answer. */
  redirects: 6,
  /** Attempts in a row to resume a body without one byte more. */
  resumeAttempts: 5,
  /** Before the first attempt to resume; doubled for each one more. */
  resumeDelay: 50,
  resumeDelayMax: 2 * second,
  /** How long an attempt to resume obeys `Retry-After`. */
  resumeRetryAfterMax: 10 * second,
  /** The first rest after a failure; doubled for each failure more. */
  rest: 5 * second,
  restMax: minute,
  /** How long a rest obeys `Retry-After`. */
  restRetryAfterMax: 60 * minute,
  /** How long a refused login is not tried again. */
  refusedLogin: 15 * minute,
}

export type UpstreamLimits = Readonly<typeof defaultLimits>
