import type { Counters } from './counters.ts'
import type { Log } from './log.ts'
import type { RepeatedFields, RequestFields } from './request-fields.ts'

/** Counts and logs one more request with the same fields. Both arguments are JSON. */
export type PreparedReport = (requestId: string, client: string) => void

/** Counts and logs requests that have ended. */
export class RequestReport {
  readonly #counters: Counters
  readonly #log: Log

  constructor({ counters, log }: { counters: Counters; log: Log }) {
    this.#counters = counters
    this.#log = log
  }

  record(fields: RequestFields): void {
    this.#count(fields)
    this.#log.request(fields)
  }

  /** For requests that differ only in their id and client. */
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
