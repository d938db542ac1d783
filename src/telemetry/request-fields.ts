import type { ContentKind, Outcome } from '../cache/observer.ts'

/** What a request was for: content, or one of the small answers around it. */
export type RequestKind = ContentKind | 'other'

/** What is told of every request to the registry API, once it has ended. */
export interface RequestFields {
  readonly requestId: string
  readonly method: string
  /** Only where it could not be read as upstream, repository and reference. */
  readonly path?: string | undefined
  readonly kind: RequestKind
  readonly upstream?: string | undefined
  readonly repository?: string | undefined
  /** Tag or digest. */
  readonly reference?: string | undefined
  readonly outcome?: Outcome | undefined
  readonly status: number
  /** Body bytes sent. */
  readonly bytes: number
  /** From the request's arrival to the answer's end. */
  readonly ms: number
  /** From the request's arrival until the answer's headers left. */
  readonly headersMs?: number | undefined
  /** Of `headersMs`, the time spent on waiting for the upstream. */
  readonly upstreamMs?: number | undefined
  readonly range?: string | undefined
  readonly userAgent?: string | undefined
  /** The client's address. */
  readonly client: string
  /** The client left before the answer's end. */
  readonly aborted?: boolean | undefined
  readonly error?: unknown
}

/** What requests that differ in nothing but their id and their client have in common. */
export type RepeatedFields = Omit<RequestFields, 'requestId' | 'client'>
