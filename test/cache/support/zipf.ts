import { LRUCache } from 'lru-cache'
import type { TestImage } from '../../support/image.ts'
import { random } from './house.ts'

/** Places 0 to before `count`, the first far more often than the last: as images are pulled. The same in every run. */
export function* zipf(count: number, exponent: number, seed: number): Generator<number, never> {
  const sums: number[] = []
  for (let place = 0; place < count; place += 1) sums.push((sums.at(-1) ?? 0) + 1 / (place + 1) ** exponent)
  const total = sums.at(-1) ?? 0
  for (const chance of random(seed)) {
    const place = sums.findIndex((sum) => sum > chance * total)
    yield place < 0 ? count - 1 : place
  }
  throw new Error('chance has ended')
}

/** What a cache that knew nothing but recency, and evicted one thing at a time, would have had of these pulls. */
export function idealHits(pulls: readonly TestImage[], maxSize: number): { hits: number; requests: number } {
  const cache = new LRUCache<string, true, number>({ maxSize, sizeCalculation: () => 1 })
  let [hits, requests] = [0, 0]
  for (const { manifest, config, layers } of pulls) {
    for (const { digest, size } of [manifest, config, ...layers]) {
      requests += 1
      if (cache.get(digest)) hits += 1
      else cache.set(digest, true, { size })
    }
  }
  return { hits, requests }
}
