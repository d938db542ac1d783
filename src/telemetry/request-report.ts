import type { Counters } from './counters.ts'
import type { Log } from './log.ts'
import type { RequestFields } from './request-fields.ts'

/** Counts a request that has ended and writes its line. */
export type RequestReport = (fields: RequestFields) => void

export function createRequestReport({ counters, log }: { counters: Counters; log: Log }): RequestReport {
  return (fields) => {
    counters.responded(fields.status)
    counters.servedBytes += fields.bytes
    counters.requestSeconds[fields.kind].observe((fields.headersMs ?? fields.ms) / 1000)
    log.request(fields)
  }
}
