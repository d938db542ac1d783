import type { IncomingHttpHeaders } from 'node:http'

export type RequestKind = 'ping' | 'token' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'cdn' | 'other'

/** What a request came with. `anonymous` and `login` are bearer tokens by how they were obtained, valid or expired. */
export type Authorization = 'none' | 'anonymous' | 'login' | 'basic' | 'unknown'

export interface RecordedRequest {
  readonly kind: RequestKind
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** Without the question mark; empty where there is none. */
  readonly query: string
  /** Of a token request: the repository of its first scope. */
  readonly repository: string | undefined
  /** The tag or digest. */
  readonly reference: string | undefined
  readonly range: string | undefined
  readonly headers: IncomingHttpHeaders
  readonly authorization: Authorization
  /** Who logged in, where the login was right. */
  readonly user: string | undefined
  /** 0 until the headers are sent. */
  readonly status: number
  /** Body bytes handed to the connection. */
  readonly bytesSent: number
  /** `cut`: by a fault, or because the client left. */
  readonly state: 'open' | 'complete' | 'cut'
}

/** The same, while the request is being answered. */
export type OpenRequest = { -readonly [K in keyof RecordedRequest]: RecordedRequest[K] }

type Fields = Pick<
  RecordedRequest,
  'kind' | 'method' | 'path' | 'repository' | 'reference' | 'range' | 'authorization' | 'user' | 'status' | 'state'
>

/** Fields that have to be equal (or one of a list), or a predicate. */
export type RequestFilter =
  | { readonly [K in keyof Fields]?: Fields[K] | readonly Fields[K][] }
  | ((request: RecordedRequest) => boolean)

export function matches(filter: RequestFilter, request: RecordedRequest): boolean {
  if (typeof filter === 'function') return filter(request)
  return Object.entries(filter).every(([field, wanted]: [string, unknown]) => {
    const actual = request[field as keyof Fields]
    return Array.isArray(wanted) ? wanted.includes(actual) : wanted === actual
  })
}

/** Every request since the start or the last reset, in order of arrival. */
export class RequestLog {
  #requests: OpenRequest[] = []

  get requests(): readonly RecordedRequest[] {
    return this.#requests
  }

  add(request: OpenRequest): void {
    this.#requests.push(request)
  }

  count(filter: RequestFilter = {}): number {
    return this.#requests.filter((request) => matches(filter, request)).length
  }

  bytes(filter: RequestFilter = {}): number {
    return this.#requests
      .filter((request) => matches(filter, request))
      .reduce((sum, { bytesSent }) => sum + bytesSent, 0)
  }

  reset(): void {
    this.#requests = []
  }
}
