import type { Stage } from './stage.ts'
import { until } from './wait.ts'
import { Wire } from './wire.ts'

/** Headers of a client whose requests the fast path may know. */
export const agent = { 'user-agent': 'docker/29 "quoted" d\u00f6cker', accept: '*/*' }

/** What node:http dates by the wall's clock the fast path dates by the mirror's, which stands still. */
export const fastDate = 'Thu, 01 Jan 2026 00:00:00 GMT'

/** Has what is asked for stored, and what is small of it in memory. */
export async function warm(stage: Stage, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    // The first one stores it, and the second one takes it into memory.
    await until(async () => (await stage.get(path)).headers['cache-status'] === 'entrepot; hit', 'it to be stored')
    await stage.get(path)
  }
}

/** One request over a connection of its own, so that for later ones the fast path knows it; resolves to whether it did before. */
export async function teach(stage: Stage, line: string): Promise<boolean> {
  using wire = await Wire.open(stage.mirror.url)
  wire.request(line, agent)
  return (await wire.answer(line.split(' ')[0]))?.headers['date'] === fastDate
}
