import type { Counters } from './counters.ts'
import type { Log } from './log.ts'
import type { RepeatedFields, RequestFields } from './request-fields.ts'

/** Tells of one more request that was like the others; both are given as JSON. */
export type PreparedReport = (requestId: string, client: string) => void

/** Counts requests that have ended and writes their lines. */
export class RequestReport {
  readonly #counters: Counters
  readonly #log: Log

  constructor({ counters, log }: { counters: Counters; log: Log }) {
    this.#counters = counters
    this.#log = log
  }

  tell(fields: RequestFields): void {
    this.#count(fields)
    this.#log.request(fields)
  }

  /** For requests that differ in nothing but their id and their client. */
  prepare(fields: RepeatedFields): PreparedReport {
    const write = this.#log.prepareRequest(fields)
    return (requestId, client) => {
      this.#count(fields)
      write(requestId, client)
    }
  }

  #count({ status, bytes, kind, headersMs, ms }: RepeatedFields): void {
    this.#counters.responded(status)
    this.#counters.servedBytes += bytes
    this.#counters.requestSeconds[kind].observe((headersMs ?? ms) / 1000)
  }
}
