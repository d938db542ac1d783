import type { FillReport } from '../cache/observer.ts'
import type { Digest } from '../oci/digest.ts'
import { TelemetryObserver, type TelemetryObserverOptions } from '../telemetry/observer.ts'
import type { Events } from './events.ts'

/** Counts and logs every report, and publishes the rare ones as events. Answers are too many for that. */
export class EventObserver extends TelemetryObserver {
  readonly #events: Events

  constructor(options: TelemetryObserverOptions, events: Events) {
    super(options)
    this.#events = events
  }

  override fillStarted(upstream: string, digest: Digest): void {
    super.fillStarted(upstream, digest)
    this.#events.publish({ type: 'fill-started', upstream, digest })
  }

  override fillEnded(report: FillReport): void {
    super.fillEnded(report)
    const { upstream, repository, digest, end, bytes, seconds } = report
    this.#events.publish({ type: 'fill-ended', upstream, repository, digest, end, bytes, seconds })
  }

  override evicted(report: { readonly blobs: number; readonly bytes: number }): void {
    super.evicted(report)
    this.#events.publish({ type: 'evicted', blobs: report.blobs, bytes: report.bytes })
  }

  override damaged(digest: Digest): void {
    super.damaged(digest)
    this.#events.publish({ type: 'damaged', digest })
  }

  override probed(
    upstream: string,
    client: { readonly address: string; readonly userAgent: string | undefined },
  ): void {
    super.probed(upstream, client)
    const { address, userAgent = null } = client
    this.#events.publish({ type: 'probed', upstream, client: address, userAgent })
  }

  override storeFailed(store: 'content' | 'metadata', error: unknown): void {
    super.storeFailed(store, error)
    this.#events.publish({ type: 'store-failed', store })
  }
}
