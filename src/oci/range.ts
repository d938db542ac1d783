/** A byte range within content of known size; both ends are inclusive. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** A `Range` header, before the content's size is known. */
export type RangeRequest =
  | { readonly kind: 'from'; readonly start: number; readonly end: number | undefined }
  | { readonly kind: 'suffix'; readonly length: number }
  | { readonly kind: 'multiple' }

export type SingleRange = Exclude<RangeRequest, { kind: 'multiple' }>

/**
 * Undefined if the header is absent or not valid by RFC 9110 §14.2; it is to be ignored then. `multiple` is any list of
 * more than one range.
 */
export function parseRange(header: string | undefined): RangeRequest | undefined {
  const spec = /^bytes=(.*)$/i.exec(header ?? '')?.[1]
  if (spec === undefined) return undefined
  const parts = spec.split(',').map((part) => part.trim())
  if (!parts.every((part) => /^(\d{1,15}-\d{0,15}|-\d{1,15})$/.test(part))) return undefined
  if (parts.length > 1) return { kind: 'multiple' }
  const [first = '', last = ''] = (parts[0] ?? '').split('-')
  if (first === '') return { kind: 'suffix', length: Number(last) }
  const end = last === '' ? undefined : Number(last)
  if (end !== undefined && end < Number(first)) return undefined
  return { kind: 'from', start: Number(first), end }
}

/** The range within `size` bytes, its end clamped to the last byte; undefined if it is outside (416). */
export function resolveRange(request: SingleRange, size: number): ByteRange | undefined {
  const start = request.kind === 'suffix' ? Math.max(0, size - request.length) : request.start
  const end = request.kind === 'suffix' ? size - 1 : Math.min(request.end ?? size - 1, size - 1)
  const empty = request.kind === 'suffix' && request.length === 0
  return empty || start > end ? undefined : { start, end }
}

/** In bytes. */
export function lengthOf({ start, end }: ByteRange): number {
  return end - start + 1
}

/** `bytes 5-9/10`. */
export function formatContentRange({ start, end }: ByteRange, size: number): string {
  return `bytes ${start}-${end}/${size}`
}

/** Undefined unless it is a satisfied byte range (RFC 9110 §14.4). `size` is undefined for `/*`. */
export function parseContentRange(header: string | undefined): (ByteRange & { size: number | undefined }) | undefined {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(header?.trim() ?? '')
  if (!match) return undefined
  const start = Number(match[1])
  const end = Number(match[2])
  const size = match[3] === '*' ? undefined : Number(match[3])
  return end < start || (size !== undefined && end >= size) ? undefined : { start, end, size }
}
