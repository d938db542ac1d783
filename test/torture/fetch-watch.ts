import type { Answer } from '../support/answer.ts'
import type { RecordedRequest } from '../support/request-log.ts'
import type { FaultName } from './faults.ts'

interface Fetch {
  readonly request: RecordedRequest
  readonly isPlain: boolean
  endedAt: number | undefined
}

/** So soon after it was had whole, nobody needs a blob again. Milliseconds. */
const tooSoon = 1000

/**
 * Sees from upstream whether a blob is fetched once (promise 1): of two whole downloads of one digest at a time, or one
 * right after the other, neither of which the upstream spoiled, one was not needed.
 */
export class FetchWatch {
  readonly #tell: (digest: string, detail: string) => void
  readonly #fetches = new Map<string, Fetch>()

  constructor(tell: (digest: string, detail: string) => void) {
    this.#tell = tell
  }

  /** A request for a whole blob begins; others are not looked at. */
  opened(request: RecordedRequest, { status }: Answer, fault: FaultName): void {
    const { kind, method, range, reference } = request
    if (kind !== 'cdn' || method !== 'GET' || range !== undefined || status !== 200 || reference === undefined) return
    const before = this.#fetches.get(reference)
    const isPlain = fault === 'none'
    if (before?.isPlain && isPlain) {
      if (before.endedAt === undefined && before.request.state === 'open') {
        this.#tell(reference, `a second download began after ${before.request.bytesSent} bytes of the first`)
      } else if (before.request.state === 'complete' && performance.now() - (before.endedAt ?? 0) < tooSoon) {
        this.#tell(reference, 'a download began right after another was complete')
      }
    }
    this.#fetches.set(reference, { request, isPlain, endedAt: undefined })
  }

  /** Finds which have ended since. */
  look(): void {
    for (const fetch of this.#fetches.values()) {
      if (fetch.endedAt === undefined && fetch.request.state !== 'open') fetch.endedAt = performance.now()
    }
  }
}
