import type { Observer } from '../../../src/cache/observer.ts'

/** Tells nobody. */
export const silent: Observer = {
  answered() {},
  received() {},
  fillStarted() {},
  fillEnded() {},
  evicted() {},
  storeWorks() {},
  damaged() {},
  probed() {},
  storeFailed() {},
  upstreamFailed() {},
}
