import { type WrkOptions, wrk } from './clients/wrk.ts'
import { measure } from './meter.ts'
import type { Contender } from './rounds.ts'
import type { Server } from './servers/server.ts'
import { megabyte } from './world.ts'

export interface HitOptions extends WrkOptions {
  /** As it is called in the table. */
  readonly name: string
  readonly server: Server
  readonly url: string
}

/** Small answers, as many as it can give: `rate` in requests a second. */
export function hits({ name, server, url, ...options }: HitOptions): Contender {
  return {
    name,
    async measure() {
      const { load, cpu, peak, others } = await measure({ server: server.process }, () => wrk(url, options))
      return {
        rate: load.perSecond,
        p50: load.p50,
        p99: load.p99,
        cpuPerRequest: (cpu / load.requests) * 1e6,
        peak: peak / megabyte,
        others,
      }
    },
  }
}
