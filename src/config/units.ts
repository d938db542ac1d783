const sizeUnits = new Map<string, number>([
  ['TiB', 1024 ** 4],
  ['TB', 1000 ** 4],
  ['GiB', 1024 ** 3],
  ['GB', 1000 ** 3],
  ['MiB', 1024 ** 2],
  ['MB', 1000 ** 2],
  ['KiB', 1024],
  ['kB', 1000],
  ['B', 1],
])

const durationUnits = new Map<string, number>([
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
])

/** Bytes. Undefined unless it is a whole number with a unit: `50GiB`, `500MB`, `512B`. */
export function parseSize(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,16})([a-zA-Z]{1,3})$/.exec(text) ?? []
  const factor = sizeUnits.get(unit ?? '')
  return factor === undefined ? undefined : exact(Number(digits) * factor)
}

/** In the largest unit that gives a whole number; powers of 1024 before powers of 1000. */
export function formatSize(bytes: number): string {
  if (bytes === 0) return '0B'
  const whole = [...sizeUnits].filter(([, factor]) => bytes % factor === 0)
  const [unit, factor] = whole.find(([name]) => name.endsWith('iB')) ?? whole[0] ?? ['B', 1]
  return `${bytes / factor}${unit}`
}

/** Milliseconds. Undefined unless it is whole numbers with units, larger units first: `5m`, `1h30m`, `250ms`. */
export function parseDuration(text: string): number | undefined {
  const numbers = /^(?:(\d{1,16})d)?(?:(\d{1,16})h)?(?:(\d{1,16})m)?(?:(\d{1,16})s)?(?:(\d{1,16})ms)?$/.exec(text)
  if (!numbers || text === '') return undefined
  const factors = [...durationUnits.values()]
  return exact(factors.reduce((sum, factor, index) => sum + Number(numbers[index + 1] ?? 0) * factor, 0))
}

export function formatDuration(milliseconds: number): string {
  let rest = milliseconds
  let text = ''
  for (const [unit, factor] of durationUnits) {
    if (rest >= factor) text += `${Math.floor(rest / factor)}${unit}`
    rest %= factor
  }
  return text || '0s'
}

function exact(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined
}
