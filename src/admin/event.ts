import type { FillEnd } from '../cache/observer.ts'

/** Something that happened in the mirror, as `/api/events` sends it. */
export type Event =
  | { readonly type: 'fill-started'; readonly upstream: string; readonly digest: string }
  | {
      readonly type: 'fill-ended'
      readonly upstream: string
      readonly repository: string
      readonly digest: string
      readonly end: FillEnd
      /** Bytes received from upstream. */
      readonly bytes: number
      readonly seconds: number
    }
  | { readonly type: 'evicted'; readonly blobs: number; readonly bytes: number }
  | { readonly type: 'damaged'; readonly digest: string }
  | {
      readonly type: 'probed'
      readonly upstream: string
      readonly client: string
      readonly userAgent: string | null
    }
  | { readonly type: 'store-failed'; readonly store: 'content' | 'metadata' }
  | { readonly type: 'upstream-resting' | 'upstream-back'; readonly upstream: string }
