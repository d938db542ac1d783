import { ContentMismatch, RegistryError, UpstreamError } from '../oci/error.ts'

const censored = '[redacted]'
const maxLength = 2048
const maxDepth = 6

const secretKey = /(authorization|cookie|password|passwd|passphrase|secret|token|credentials?|signature|api[-_]?key)$/i

/** Query parameters of the registry protocols that are no secrets. The values of all others are removed. */
const openParameters = new Set(['ns', 'n', 'last', 'digest', 'mount', 'from', 'scope', 'service', 'artifactType'])

/** The text without logins, bearer tokens and signed queries, cut to a maximum length. */
export function redactText(text: string): string {
  const kept = text.length > maxLength ? `${text.slice(0, maxLength)}…` : text
  return kept
    .replace(/([?&])([^\s=&#?"'<>]+)=([^\s&#"'<>]*)/g, (whole, sign: string, name: string) =>
      openParameters.has(name) ? whole : `${sign}${name}=${censored}`,
    )
    .replace(/\/\/[^\s/@"']+@/g, `//${censored}@`)
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${censored}`)
}

/** A copy for a log line: secrets are censored by key at any depth and by pattern in strings; errors become objects. */
export function redact(fields: object): Record<string, unknown> {
  return entries(fields, 0)
}

export function redactError(error: unknown): unknown {
  return value(error, 0)
}

function entries(fields: object, depth: number): Record<string, unknown> {
  const copy: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(fields)) {
    const secret = (typeof item === 'string' || typeof item === 'number' || isObject(item)) && secretKey.test(key)
    copy[key] = secret ? censored : value(item, depth + 1)
  }
  return copy
}

function value(item: unknown, depth: number): unknown {
  if (typeof item === 'string') return redactText(item)
  if (typeof item === 'function' || typeof item === 'symbol') return undefined
  if (!isObject(item)) return item
  if (depth > maxDepth) return '[deep]'
  if (item instanceof Error) return spelledOut(item, depth)
  if (item instanceof Date || item instanceof URL) return redactText(String(item))
  if (ArrayBuffer.isView(item)) return `[${item.byteLength} bytes]`
  if (Array.isArray(item)) return item.slice(0, 100).map((each) => value(each, depth + 1))
  return entries(item, depth)
}

/** With the stack only for an unexpected error, which has no code and none of our classes: it is a bug. */
function spelledOut(error: Error, depth: number): Record<string, unknown> {
  const { code, kind, status } = error as Error & { code?: unknown; kind?: unknown; status?: unknown }
  const ours = error instanceof UpstreamError || error instanceof RegistryError || error instanceof ContentMismatch
  const described: Record<string, unknown> = { type: error.name, message: redactText(error.message) }
  if (code !== undefined) described['code'] = value(code, depth + 1)
  if (kind !== undefined) described['kind'] = value(kind, depth + 1)
  if (status !== undefined) described['status'] = value(status, depth + 1)
  if (error instanceof AggregateError) described['errors'] = value(error.errors, depth + 1)
  if (error.cause !== undefined) described['cause'] = value(error.cause, depth + 1)
  if (!ours && code === undefined && error.stack !== undefined) described['stack'] = redactText(error.stack)
  return described
}

function isObject(item: unknown): item is object {
  return typeof item === 'object' && item !== null
}
