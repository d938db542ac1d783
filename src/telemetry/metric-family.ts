import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Distribution } from './distribution.ts'

export interface Sample<Value = number> {
  readonly labels: Readonly<Record<string, string>>
  readonly value: Value
}

/** What a metric shows at a scrape: one value without labels, none, or one for each labels. */
type Read<Value = number> = () => Value | null | undefined | readonly Sample<Value>[]

/** Metrics by name: help, and where the samples come from. */
type Families<Value = number> = Readonly<Record<string, readonly [help: string, read: Read<Value>]>>

/** Metrics whose samples are read at each scrape. */
export class MetricFamilies {
  readonly registry = new Registry()

  counters(labelNames: string[], families: Families): void {
    for (const [name, [help, read]] of Object.entries(families)) {
      const collect = (): void => {
        counter.reset()
        for (const { labels, value } of samplesOf(read)) counter.inc(labels, value)
      }
      const counter = new Counter({ name, help, labelNames, registers: [this.registry], collect })
    }
  }

  gauges(labelNames: string[], families: Families): void {
    for (const [name, [help, read]] of Object.entries(families)) {
      const collect = (): void => {
        gauge.reset()
        for (const { labels, value } of samplesOf(read)) gauge.set(labels, value)
      }
      const gauge = new Gauge({ name, help, labelNames, registers: [this.registry], collect })
    }
  }

  histograms(labelNames: string[], families: Families<Distribution>): void {
    for (const [name, [help, read]] of Object.entries(families)) {
      const histogram = new Histogram({ name, help, labelNames, registers: [this.registry] })
      // prom-client's histogram collects its own observations; this one reads distributions that are kept elsewhere.
      // prom-client 15 calls this to write text, and in its own `get`; its types leave it out.
      const getForPromString = async (): Promise<object> => {
        const values = samplesOf(read).flatMap((sample) => bucketsOf(name, sample))
        return { name, help, type: 'histogram', values }
      }
      Object.assign(histogram, { getForPromString })
    }
  }
}

function samplesOf<Value extends object | number>(read: Read<Value>): readonly Sample<Value>[] {
  const found = read()
  if (found === null || found === undefined) return []
  return Array.isArray(found) ? found : [{ labels: {}, value: found as Value }]
}

function bucketsOf(name: string, { labels, value }: Sample<Distribution>): object[] {
  const { bounds, counts, sum, count } = value
  let below = 0
  const buckets = bounds.map((bound, slot) => {
    below += counts[slot] ?? 0
    return { metricName: `${name}_bucket`, labels: { ...labels, le: bound }, value: below }
  })
  return [
    ...buckets,
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ]
}
