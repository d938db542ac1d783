import { gzipSync } from 'node:zlib'
import type { Behaviour } from './behaviour.ts'
import { allOf, type Bytes, bytesOf } from './bytes.ts'

export type Headers = Readonly<Record<string, string | readonly string[]>>

export interface Answer {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Headers
  readonly body: Bytes
  /** Whether a Range header applies. */
  readonly ranges?: true
  /** A 401 that asks who is there; see `Faults`. */
  readonly challenge?: true
}

/** As far as an answer depends on it. */
export interface Question {
  readonly method: string
  readonly range: string | undefined
  readonly ifRange: string | undefined
  readonly acceptEncoding: string | undefined
}

export const nothing: Bytes = bytesOf(Buffer.alloc(0))

export function redirect(status: number, location: string): Answer {
  return { status, headers: { location }, body: nothing }
}

export function jsonAnswer(status: number, value: unknown, headers: Headers = {}): Answer {
  const body = bytesOf(Buffer.from(JSON.stringify(value)))
  return { status, headers: { 'content-type': 'application/json', ...headers }, body }
}

export function errorAnswer(status: number, code: string, headers: Headers = {}): Answer {
  return jsonAnswer(status, { errors: [{ code, message: code.toLowerCase().replaceAll('_', ' ') }] }, headers)
}

/** The answer as it goes out: status, headers with the framing, and the body. */
export function prepare(answer: Answer, question: Question, behaviour: Behaviour): Answer {
  const replaced = replace(answer, question, behaviour)
  const ranged = replaced.ranges ? applyRange(replaced, question, behaviour) : replaced
  const { headers, body } = encode({ ...ranged, body: damage(ranged.body, behaviour) }, question, behaviour)
  const framed: Record<string, string | readonly string[]> = { ...headers }
  if (ranged.status !== 304) framed['content-length'] = String(behaviour.contentLength ?? body.size)
  if (behaviour.chunked || behaviour.closeDelimited) delete framed['content-length']
  for (const name of behaviour.omitHeaders ?? []) delete framed[name]
  return { status: ranged.status, headers: { ...framed, ...behaviour.setHeaders }, body }
}

function replace(answer: Answer, question: Question, behaviour: Behaviour): Answer {
  if (question.method === 'HEAD' && behaviour.headStatus !== undefined) {
    return { status: behaviour.headStatus, headers: {}, body: nothing }
  }
  if (behaviour.status === undefined && behaviour.body === undefined) return answer
  const status = behaviour.status ?? answer.status
  if (behaviour.body === undefined) return errorAnswer(status, codes.get(status) ?? 'UNKNOWN', behaviour.headers)
  return { status, headers: behaviour.headers ?? answer.headers, body: bytesOf(Buffer.from(behaviour.body)) }
}

const codes = new Map([
  [401, 'UNAUTHORIZED'],
  [403, 'DENIED'],
  [404, 'MANIFEST_UNKNOWN'],
  [405, 'UNSUPPORTED'],
  [429, 'TOOMANYREQUESTS'],
])

/** One range of RFC 9110 §14; several are ignored. */
function applyRange(answer: Answer, { range, ifRange }: Question, behaviour: Behaviour): Answer {
  const { size } = answer.body
  const headers = { ...answer.headers, 'accept-ranges': 'bytes' }
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(range ?? '') ?? []
  const stale = ifRange !== undefined && ifRange !== answer.headers['etag']
  if (behaviour.ignoreRange || stale || `${first}${last}` === '') return { ...answer, headers }
  const shift = behaviour.wrongContentRange ? 1 : 0
  const start = (first === '' ? Math.max(0, size - Number(last)) : Number(first)) + shift
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last) + shift, size - 1)
  if (start > end) {
    const unsatisfied = errorAnswer(416, 'RANGE_INVALID')
    return { ...unsatisfied, headers: { ...unsatisfied.headers, 'content-range': `bytes */${size}` } }
  }
  const body = window(answer.body, start, end + 1)
  return { status: 206, headers: { ...headers, 'content-range': `bytes ${start}-${end}/${size}` }, body }
}

function window(bytes: Bytes, from: number, to: number): Bytes {
  return { size: to - from, slice: (start, end) => bytes.slice(from + start, Math.min(from + end, to)) }
}

function damage(bytes: Bytes, { truncateTo, extraBytes, flipByteAt }: Behaviour): Bytes {
  let damaged = bytes
  if (truncateTo !== undefined) damaged = window(damaged, 0, Math.min(truncateTo, damaged.size))
  if (extraBytes !== undefined) damaged = lengthen(damaged, extraBytes)
  if (flipByteAt !== undefined) damaged = flip(damaged, flipByteAt)
  return damaged
}

function lengthen(bytes: Bytes, extra: number): Bytes {
  return {
    size: bytes.size + extra,
    slice: (start, end) => {
      const real = bytes.slice(Math.min(start, bytes.size), Math.min(end, bytes.size))
      return Buffer.concat([real, Buffer.alloc(end - start - real.length)])
    },
  }
}

function flip(bytes: Bytes, offset: number): Bytes {
  return {
    size: bytes.size,
    slice: (start, end) => {
      const slice = bytes.slice(start, end)
      if (offset < start || offset >= end) return slice
      const copy = Buffer.from(slice)
      copy[offset - start] = (copy[offset - start] ?? 0) ^ 0xff
      return copy
    },
  }
}

function encode(answer: Answer, { acceptEncoding }: Question, { contentEncoding }: Behaviour): Answer {
  const wanted = contentEncoding === 'gzip-always' || (contentEncoding && /\bgzip\b/.test(acceptEncoding ?? ''))
  if (!wanted || answer.status !== 200) return answer
  const headers = { ...answer.headers, 'content-encoding': 'gzip', vary: 'accept-encoding' }
  return { ...answer, headers, body: bytesOf(gzipSync(allOf(answer.body))) }
}
