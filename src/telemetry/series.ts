import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Distribution } from './distribution.ts'

export interface Sample {
  readonly labels?: Readonly<Record<string, string>>
  readonly value: number
}

export interface LabelledDistribution {
  readonly labels?: Readonly<Record<string, string>>
  readonly distribution: Distribution
}

/** Name, help and label names of a metric whose samples are read when it is scraped. */
export interface Series {
  readonly registry: Registry
  readonly name: string
  readonly help: string
  readonly labels?: readonly string[]
}

export function counter({ registry, name, help, labels = [] }: Series, samples: () => Iterable<Sample>): void {
  new Counter({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect() {
      this.reset()
      for (const sample of samples()) this.inc(sample.labels ?? {}, sample.value)
    },
  })
}

export function gauge({ registry, name, help, labels = [] }: Series, samples: () => Iterable<Sample>): void {
  new Gauge({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
    collect() {
      this.reset()
      for (const sample of samples()) this.set(sample.labels ?? {}, sample.value)
    },
  })
}

export function histogram(series: Series, read: () => Iterable<LabelledDistribution>): void {
  new DistributionHistogram(series, read)
}

/** prom-client's histogram can only observe; this one shows what was observed elsewhere. */
class DistributionHistogram extends Histogram {
  readonly #series: Series
  readonly #read: () => Iterable<LabelledDistribution>

  constructor(series: Series, read: () => Iterable<LabelledDistribution>) {
    super({
      name: series.name,
      help: series.help,
      labelNames: [...(series.labels ?? [])],
      registers: [series.registry],
    })
    this.#series = series
    this.#read = read
  }

  /** What prom-client 15 asks when it writes text, and in its own `get`; its types leave it out. */
  async getForPromString(): Promise<object> {
    const { name, help } = this.#series
    const values = [...this.#read()].flatMap(({ labels = {}, distribution }) => this.#values(labels, distribution))
    return { name, help, type: 'histogram', values }
  }

  #values(labels: Readonly<Record<string, string>>, { bounds, counts, sum, count }: Distribution) {
    const { name } = this.#series
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
}
