/** Every error code of the admin listener, with the status and message that go with it. */
export const adminErrorCodes = {
  BUSY: { status: 503, message: 'too many clients are listening to events' },
  CONFLICT: { status: 409, message: 'this is already running' },
  INVALID: { status: 400, message: 'the request is not valid' },
  MISDIRECTED: { status: 421, message: 'this host name is not one of the admin listener (see admin.hosts)' },
  NOT_CACHED: { status: 404, message: 'nothing of that name is cached' },
  NOT_FOUND: { status: 404, message: 'no such path' },
  TOO_LARGE: { status: 413, message: 'the body is too large' },
  UNAUTHORIZED: { status: 401, message: 'a bearer token is required' },
  UNKNOWN: { status: 500, message: 'internal error' },
  UNSUPPORTED: { status: 405, message: 'the path does not support this method' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, message: 'writes need Content-Type: application/json' },
} as const satisfies Record<string, { status: number; message: string }>

export type AdminErrorCode = keyof typeof adminErrorCodes

/** A refusal meant for the client. */
export class AdminError extends Error {
  override readonly name = 'AdminError'
  readonly code: AdminErrorCode

  /** `message`: if it can say more than the code's own. */
  constructor(code: AdminErrorCode, message: string = adminErrorCodes[code].message, options: ErrorOptions = {}) {
    super(message, options)
    this.code = code
  }
}

/** A client's text, quoted and cut to a length for an error message. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text)
}
