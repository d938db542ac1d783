import type { ContentKind, FillReport, Observer, Outcome } from '../cache/observer.ts'
import type { Digest } from '../oci/digest.ts'
import type { Events } from './events.ts'

/** Passes every report on, and publishes the rare ones as events. Answers are too many: they are only counted. */
export class EventObserver implements Observer {
  readonly #inner: Observer
  readonly #events: Events

  constructor(inner: Observer, events: Events) {
    this.#inner = inner
    this.#events = events
  }

  answered(kind: ContentKind, upstream: string, outcome: Outcome): void {
    this.#inner.answered(kind, upstream, outcome)
  }

  received(upstream: string, bytes: number): void {
    this.#inner.received(upstream, bytes)
  }

  fillStarted(upstream: string, digest: Digest): void {
    this.#inner.fillStarted(upstream, digest)
    this.#events.publish({ type: 'fill-started', upstream, digest })
  }

  fillEnded(report: FillReport): void {
    this.#inner.fillEnded(report)
    const { upstream, repository, digest, end, bytes, seconds } = report
    this.#events.publish({ type: 'fill-ended', upstream, repository, digest, end, bytes, seconds })
  }

  evicted(report: { readonly blobs: number; readonly bytes: number }): void {
    this.#inner.evicted(report)
    this.#events.publish({ type: 'evicted', blobs: report.blobs, bytes: report.bytes })
  }

  storeWorks(): void {
    this.#inner.storeWorks()
  }

  damaged(digest: Digest): void {
    this.#inner.damaged(digest)
    this.#events.publish({ type: 'damaged', digest })
  }

  probed(upstream: string, client: { readonly address: string; readonly userAgent: string | undefined }): void {
    this.#inner.probed(upstream, client)
    const { address, userAgent = null } = client
    this.#events.publish({ type: 'probed', upstream, client: address, userAgent })
  }

  storeFailed(store: 'content' | 'metadata', error: unknown): void {
    this.#inner.storeFailed(store, error)
    this.#events.publish({ type: 'store-failed', store })
  }

  upstreamFailed(upstream: string, error: unknown): void {
    this.#inner.upstreamFailed(upstream, error)
  }
}
