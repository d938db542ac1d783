/** Every error code of the admin listener, with the status and message that go with it. */
export const adminErrorCodes = {
  MISDIRECTED: { status: 421, message: 'this host name is not one of the admin listener (see admin.hosts)' },
  NOT_FOUND: { status: 404, message: 'no such path' },
  UNAUTHORIZED: { status: 401, message: 'a bearer token is required' },
  UNKNOWN: { status: 500, message: 'internal error' },
  UNSUPPORTED: { status: 405, message: 'the path does not support this method' },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, message: 'writes want Content-Type: application/json' },
} as const satisfies Record<string, { status: number; message: string }>

export type AdminErrorCode = keyof typeof adminErrorCodes

/** A refusal meant for the client. */
export class AdminError extends Error {
  override readonly name = 'AdminError'
  readonly code: AdminErrorCode

  constructor(code: AdminErrorCode, options: ErrorOptions = {}) {
    super(adminErrorCodes[code].message, options)
    this.code = code
  }
}
