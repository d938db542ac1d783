const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
const spans = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
] as const

/** `12.3 MiB`: at most three digits. */
export function bytes(value: number): string {
  let [scaled, unit] = [value, 0]
  // From 999.5 on, three digits would not be enough.
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1024
    unit += 1
  }
  const digits = unit === 0 || scaled >= 99.95 ? 0 : 1
  return `${scaled.toFixed(digits)} ${units[unit]}`
}

/** `1,234`. */
export function count(value: number): string {
  return value.toLocaleString('en')
}

/** `1 tag`, `2 tags`. */
export function counted(value: number, noun: string): string {
  return `${count(value)} ${noun}${value === 1 ? '' : 's'}`
}

export function percent(part: number): string {
  return `${(part * 100).toFixed(1)} %`
}

/** `3d 4h`: the two largest units of a number of seconds. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const first = spans.findIndex(([, size]) => whole >= size)
  if (first < 0) return '0s'
  let rest = whole
  const parts = spans.slice(first, first + 2).map(([unit, size]) => {
    const times = Math.floor(rest / size)
    rest %= size
    return times > 0 ? `${times}${unit}` : ''
  })
  return parts.filter((part) => part !== '').join(' ')
}

/** `2026-11-22 21:04Z`, of epoch milliseconds. */
export function minute(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')}Z`
}
