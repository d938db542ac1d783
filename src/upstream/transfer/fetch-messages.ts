import type { Thread } from '../../threads/thread.ts'
import type { DispatcherOptions } from './dispatcher.ts'
import type { PieceTarget } from './piece-writer.ts'
import type { Headers } from './response.ts'

/** To the thread, about one request. `fetched-body.ts` says which may follow which. */
export type FetchRequest = { readonly id: number } & (
  | {
      readonly kind: 'get'
      readonly origin: string
      readonly path: string
      /** As they are sent, what authorizes included: the thread knows of no other secret. */
      readonly headers: Readonly<Record<string, string>>
      readonly dispatcher: DispatcherOptions
    }
  | ({ readonly kind: 'into' } & PieceTarget)
  | { readonly kind: 'retry' | 'stop' }
)

/** An error, as far as it can be sent to another thread, and may be. */
export interface FetchFailure {
  readonly name: string
  readonly message: string
  readonly code: string | undefined
  /** Bytes that had come through the connection, where it was one that broke. */
  readonly bytesRead: number
}

/** From the thread. */
export type FetchAnswer = { readonly id: number } & (
  | { readonly kind: 'head'; readonly status: number; readonly headers: Headers }
  /** The file has so many bytes more. */
  | { readonly kind: 'written'; readonly bytes: number }
  /** The system takes no more; `retry` or `stop` is to follow. */
  | { readonly kind: 'refused'; readonly error: FetchFailure }
  /** Nothing more comes, and nothing more is written. */
  | { readonly kind: 'end'; readonly reason: 'whole' | 'too long' | 'stopped' }
  | { readonly kind: 'end'; readonly reason: 'failed'; readonly error: FetchFailure }
)

/** A thread that fetches. */
export type FetchThread = Thread<FetchRequest, FetchAnswer>
