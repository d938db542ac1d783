export interface Column {
  readonly title: string
  /** For numbers. */
  readonly align?: 'right'
}

/** Lines of text, with each column as wide as its longest cell. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map(({ title }) => title), ...rows]
  const widths = columns.map((_, n) => Math.max(...lines.map((line) => line[n]?.length ?? 0)))
  const text = lines.map((line) => columns.map((column, n) => padded(line[n] ?? '', widths[n] ?? 0, column)).join('  '))
  return text.map((line) => `${line.trimEnd()}\n`).join('')
}

function padded(text: string, width: number, { align }: Column): string {
  return align === 'right' ? text.padStart(width) : text.padEnd(width)
}
