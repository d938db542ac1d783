import type { ContentKind, Outcome } from '../cache/observer.ts'

/** What a request was for: content, or anything else. */
export type RequestKind = ContentKind | 'other'

/** The log fields of a request to the registry API that has ended. */
export interface RequestFields {
  readonly requestId: string
  readonly method: string
  /** Only if it could not be parsed as upstream, repository and reference. */
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
  /** The part of `headersMs` spent waiting for the upstream. */
  readonly upstreamMs?: number | undefined
  readonly range?: string | undefined
  readonly userAgent?: string | undefined
  /** The client's address. */
  readonly client: string
  /** The client left before the answer's end. */
  readonly aborted?: boolean | undefined
  readonly error?: unknown
}

/** The fields of requests that differ only in their id and client. */
export type RepeatedFields = Omit<RequestFields, 'requestId' | 'client'>
