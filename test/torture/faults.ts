import type { Answer } from '../support/answer.ts'
import type { Behaviour } from '../support/behaviour.ts'
import type { RecordedRequest } from '../support/request-log.ts'
import type { Random } from './random.ts'

/** How an upstream's answer can go wrong, one name each. */
export const faultNames = [
  'none',
  'cut',
  'cut-rst',
  'half-close',
  'stall',
  'shorter',
  'longer',
  'no-length',
  'close-delimited',
  'ignores-range',
  'wrong-range',
  'flip',
  'page-200',
  'page-404',
  'json-404',
  'denied',
  'limited',
  'error-500',
  'error-503',
  'malformed',
  'silence',
  'fin',
  'rst',
  'slow-head',
  'slow-body',
] as const

export type FaultName = (typeof faultNames)[number]

/** How the upstream is for a while: which faults its answers have, by weight. */
export const weathers = {
  calm: { none: 1 },
  rough: {
    none: 70,
    cut: 6,
    'cut-rst': 3,
    'half-close': 2,
    stall: 3,
    'slow-head': 4,
    'slow-body': 4,
    'no-length': 4,
    'ignores-range': 2,
    fin: 1,
    rst: 1,
  },
  storm: {
    none: 30,
    cut: 10,
    'cut-rst': 6,
    'half-close': 4,
    stall: 6,
    'error-503': 6,
    'error-500': 4,
    silence: 3,
    'slow-head': 6,
    'slow-body': 6,
    fin: 4,
    rst: 4,
    'close-delimited': 4,
    'no-length': 4,
  },
  lying: {
    none: 45,
    flip: 14,
    shorter: 8,
    longer: 8,
    'wrong-range': 6,
    'ignores-range': 5,
    'page-200': 4,
    malformed: 3,
    cut: 4,
    'close-delimited': 3,
  },
  limited: { none: 60, limited: 30, 'error-503': 10 },
  absent: { none: 55, 'page-404': 15, 'json-404': 15, denied: 15 },
} as const satisfies Readonly<Record<string, Readonly<Partial<Record<FaultName, number>>>>>

export type Weather = keyof typeof weathers

/** Bytes that are not the content, as an answer that looks good. A digest unmasks them; a tag has none. */
export const lies: ReadonlySet<FaultName> = new Set(['flip', 'shorter', 'longer', 'page-200', 'close-delimited'])
/** Answers that content which exists is not there, or not for us. */
const denials: ReadonlySet<FaultName> = new Set(['page-404', 'json-404', 'denied'])
/** Those that are about a body with ranges. */
const bodily: ReadonlySet<FaultName> = new Set(['ignores-range', 'wrong-range', 'slow-body', 'stall', 'half-close'])

const page = '<!DOCTYPE html><html><body><h1>Sign in</h1></body></html>'
const html = { 'content-type': 'text/html' }

/** Which fault a request gets. `sturdy`: it asks a repository whose tags must stay right whatever happens elsewhere. */
export function faultFor(random: Random, weather: Weather, request: RecordedRequest, sturdy: boolean): FaultName {
  if (request.kind === 'ping' || request.kind === 'token') {
    const name = random.weighted<FaultName>(weathers[weather])
    return ['error-503', 'slow-head', 'fin', 'rst'].includes(name) && random.chance(0.3) ? name : 'none'
  }
  const name = random.weighted<FaultName>(weathers[weather])
  const isManifest = request.kind === 'manifest'
  if (sturdy && (denials.has(name) || (isManifest && lies.has(name)))) return 'none'
  if (isManifest && bodily.has(name)) return 'none'
  return name
}

/** What it does, at which place. */
export function behaviourOf(name: FaultName, random: Random, answer: Answer): Behaviour {
  const { size } = answer.body
  const somewhere = size === 0 ? 0 : random.between(0, size - 1)
  switch (name) {
    case 'none':
      return {}
    case 'cut':
      return { cutAfter: somewhere }
    case 'cut-rst':
      return { cutAfter: somewhere, cut: 'rst' }
    case 'half-close':
      return { cutAfter: somewhere, cut: 'half' }
    case 'stall':
      return { stallAfter: somewhere }
    case 'shorter':
      return { truncateTo: somewhere }
    case 'longer':
      return { extraBytes: random.between(1, 100_000) }
    case 'no-length':
      return { chunked: true }
    case 'close-delimited':
      return { closeDelimited: true, ...(random.chance(0.5) && { cutAfter: somewhere }) }
    case 'ignores-range':
      return { ignoreRange: true }
    case 'wrong-range':
      return { wrongContentRange: true }
    case 'flip':
      return { flipByteAt: somewhere }
    case 'page-200':
      return { status: 200, body: page, headers: html }
    case 'page-404':
      return { status: 404, body: page, headers: html }
    case 'json-404':
      return { status: 404, headStatus: 404 }
    case 'denied':
      return { status: random.chance(0.5) ? 403 : 401 }
    case 'limited':
      return {
        status: 429,
        headers: { 'retry-after': String(random.between(1, 2)), 'content-type': 'application/json' },
      }
    case 'error-500':
      return { status: 500 }
    case 'error-503':
      return { status: 503, headers: { 'retry-after': '1', 'content-type': 'application/json' } }
    case 'malformed':
      return { instead: 'malformed' }
    case 'silence':
      return { instead: 'silence' }
    case 'fin':
      return { instead: 'fin' }
    case 'rst':
      return { instead: 'rst' }
    case 'slow-head':
      return { delay: random.between(100, 1500) }
    case 'slow-body':
      return { throttle: random.between(200_000, 20_000_000) }
  }
}
