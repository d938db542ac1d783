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

/** A metric whose samples are read at each scrape. */
export interface MetricFamily {
  readonly registry: Registry
  readonly name: string
  readonly help: string
  readonly labels?: readonly string[]
}

export function counter({ registry, name, help, labels = [] }: MetricFamily, samples: () => Iterable<Sample>): void {
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

export function gauge({ registry, name, help, labels = [] }: MetricFamily, samples: () => Iterable<Sample>): void {
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

export function histogram(family: MetricFamily, read: () => Iterable<LabelledDistribution>): void {
  new DistributionHistogram(family, read)
}

/** prom-client's histogram collects its own observations; this one reads a distribution that is kept elsewhere. */
class DistributionHistogram extends Histogram {
  readonly #family: MetricFamily
  readonly #read: () => Iterable<LabelledDistribution>

  constructor(family: MetricFamily, read: () => Iterable<LabelledDistribution>) {
    super({
      name: family.name,
      help: family.help,
      labelNames: [...(family.labels ?? [])],
      registers: [family.registry],
    })
    this.#family = family
    this.#read = read
  }

  /** prom-client 15 calls it to write text, and in its own `get`; its types leave it out. */
  async getForPromString(): Promise<object> {
    const { name, help } = this.#family
    const values = [...this.#read()].flatMap(({ labels = {}, distribution }) => this.#values(labels, distribution))
    return { name, help, type: 'histogram', values }
  }

  #values(labels: Readonly<Record<string, string>>, { bounds, counts, sum, count }: Distribution) {
    const { name } = this.#family
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
