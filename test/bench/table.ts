import { type Goal, verdictOf } from './goal.ts'
import type { Findings } from './scenario.ts'
import { medianOf, type Samples } from './stats.ts'

interface Column {
  readonly title: string
  readonly digits: number
}

/** Every figure that a scenario may give. */
const columns: Readonly<Record<string, Column>> = {
  rate: { title: 'requests/s', digits: 0 },
  p50: { title: 'p50 ms', digits: 2 },
  p99: { title: 'p99 ms', digits: 2 },
  cpuPerRequest: { title: 'CPU µs/request', digits: 1 },
  speed: { title: 'MB/s', digits: 0 },
  cpuPerGb: { title: 'CPU s/GB', digits: 3 },
  wall: { title: 'client s', digits: 3 },
  stored: { title: 'stored s', digits: 3 },
  cpu: { title: 'CPU s', digits: 2 },
  upstream: { title: 'upstream bytes ×', digits: 2 },
  headers: { title: 'headers ms', digits: 2 },
  firstByte: { title: 'first byte ms', digits: 2 },
  cold: { title: 'cold s', digits: 3 },
  warm: { title: 'warm s', digits: 3 },
  resident: { title: 'resident MB', digits: 0 },
  peak: { title: 'peak MB', digits: 0 },
  others: { title: 'other CPUs', digits: 2 },
}

/** Markdown: the medians, and beneath them the goals. */
export function tableOf({ title, samples, goals, notes = [] }: Findings): string {
  const used = Object.keys(columns).filter((column) => [...samples.values()].flat().some((one) => column in one))
  const header = ['', ...used.map((column) => columns[column]?.title ?? column)]
  const rows = [...samples.keys()].map((name) => [name, ...used.map((column) => cell(samples, name, column))])
  const align = header.map((_, at) => (at === 0 ? '---' : '--:'))
  const table = [header, align, ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  return [`### ${title}`, '', ...table, '', ...goals.map(goalLine), ...notes.map((note) => `- ${note}`), ''].join('\n')
}

export function goalLine(goal: Goal): string {
  const { what, value, bound, kind, unit } = goal
  const measured = Number.isNaN(value) ? 'not measured' : `${format(value, 2)} ${unit}`
  return `- **${verdictOf(goal)}**: ${what}: ${measured} (${kind} ${bound} ${unit})`
}

function cell(samples: Samples, name: string, column: string): string {
  const value = medianOf(samples, name, column)
  return Number.isNaN(value) ? '' : format(value, columns[column]?.digits ?? 2)
}

function format(value: number, digits: number): string {
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
