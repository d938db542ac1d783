import { isObject, parseObject } from './manifest.ts'

// Docker's schema 1, signed as a JSON Web Signature in "pretty" form: the signatures stand inside the document, and its
// digest is that of the document without them. Each signature's protected header says how to take them out.

export function isSigned(manifest: Readonly<Record<string, unknown>>): boolean {
  return manifest['schemaVersion'] === 1 && Array.isArray(manifest['signatures'])
}

/** The bytes that were signed; undefined where no signature says which they are. */
export function payloadOf(manifest: Readonly<Record<string, unknown>>, body: Buffer): Buffer | undefined {
  const [signature] = Array.isArray(manifest['signatures']) ? (manifest['signatures'] as unknown[]) : []
  const text = isObject(signature) ? signature['protected'] : undefined
  const header = typeof text === 'string' ? parseObject(Buffer.from(text, 'base64url')) : undefined
  const { formatLength: length, formatTail: tail } = header ?? {}
  if (!Number.isSafeInteger(length) || (length as number) < 0 || (length as number) > body.length) return undefined
  if (typeof tail !== 'string') return undefined
  return Buffer.concat([body.subarray(0, length as number), Buffer.from(tail, 'base64url')])
}
