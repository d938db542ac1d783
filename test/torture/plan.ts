import type { Weather } from './faults.ts'
import type { TortureOptions } from './options.ts'
import { Random } from './random.ts'

/** One thing done to the mirror or to what it leans on. `at` is in milliseconds from the start of the attack. */
export type PlannedEvent = { readonly at: number } & Deed

export type Deed =
  | { readonly deed: 'weather'; readonly weather: Weather }
  /** The upstream refuses connections, or takes requests and says nothing, for so many milliseconds. */
  | { readonly deed: 'outage'; readonly how: 'refuses' | 'silent'; readonly milliseconds: number }
  | { readonly deed: 'narrow'; readonly connections: number; readonly milliseconds: number }
  | { readonly deed: 'move-tags'; readonly draw: number }
  | { readonly deed: 'expire' }
  | { readonly deed: 'term' }
  | { readonly deed: 'kill' }
  | { readonly deed: 'freeze'; readonly milliseconds: number }
  | { readonly deed: 'lose-metadata' }
  | { readonly deed: 'damage'; readonly how: 'truncate' | 'delete' | 'flip'; readonly draw: number }
  | { readonly deed: 'purge'; readonly draw: number }
  | { readonly deed: 'scrub' }
  | { readonly deed: 'evict' }
  | { readonly deed: 'step-clock'; readonly seconds: number }
  | { readonly deed: 'fill-disk'; readonly milliseconds: number }
  | { readonly deed: 'redis'; readonly how: 'kill' | 'freeze' | 'flush'; readonly milliseconds: number }

/** Milliseconds between two events of a kind, on average. Only those that the options allow are planned. */
const pace: Readonly<Partial<Record<Deed['deed'], number>>> = {
  weather: 9_000,
  outage: 32_000,
  narrow: 40_000,
  'move-tags': 5_000,
  expire: 11_000,
  term: 45_000,
  kill: 22_000,
  freeze: 25_000,
  'lose-metadata': 60_000,
  damage: 6_000,
  purge: 7_000,
  scrub: 25_000,
  evict: 12_000,
  'step-clock': 50_000,
}
/** How often each weather comes. */
const climate: Readonly<Record<Weather, number>> = { calm: 3, rough: 4, storm: 2, lying: 3, limited: 1, absent: 1 }
const withDisk: typeof pace = { 'fill-disk': 20_000 }
const withRedis: typeof pace = { redis: 12_000 }

/** Every deed, in order of time. The same options give the same plan. */
export function planOf(options: TortureOptions): readonly PlannedEvent[] {
  const random = new Random(`torture ${options.seed}`)
  const kinds = { ...pace, ...(options.disk !== undefined && withDisk), ...(options.redis && withRedis) }
  const length = options.minutes * 60_000
  const events = Object.entries(kinds).flatMap(([deed, every]) => {
    const own = random.fork(deed)
    const found: PlannedEvent[] = []
    for (let at = own.between(0, every); at < length; at += own.between(every / 2, (every * 3) / 2)) {
      found.push({ at: Math.round(at), ...deedOf(deed as Deed['deed'], own) })
    }
    return found
  })
  return events.sort((a, b) => a.at - b.at)
}

function deedOf(deed: Deed['deed'], random: Random): Deed {
  const draw = random.between(0, 2 ** 30)
  switch (deed) {
    case 'weather':
      return { deed, weather: random.weighted(climate) }
    case 'outage':
      return { deed, how: random.pick(['refuses', 'silent']), milliseconds: random.between(1000, 14_000) }
    case 'narrow':
      return { deed, connections: random.between(2, 12), milliseconds: random.between(3000, 10_000) }
    case 'move-tags':
    case 'purge':
      return { deed, draw }
    case 'freeze':
      return { deed, milliseconds: random.between(200, 4000) }
    case 'damage':
      return { deed, how: random.pick(['truncate', 'delete', 'flip']), draw }
    case 'step-clock':
      return { deed, seconds: random.pick([-86_400, -3600, -5, 5, 3600, 86_400]) }
    case 'fill-disk':
      return { deed, milliseconds: random.between(2000, 9000) }
    case 'redis':
      return { deed, how: random.pick(['kill', 'freeze', 'flush']), milliseconds: random.between(500, 6000) }
    case 'expire':
    case 'term':
    case 'kill':
    case 'lose-metadata':
    case 'scrub':
    case 'evict':
      return { deed }
  }
}

/** One line an event, as it is printed. */
export function lineOf({ at, ...deed }: PlannedEvent): string {
  const { deed: name, ...rest } = deed
  const details = Object.entries(rest).map(([key, value]) => `${key}=${value}`)
  return [`${(at / 1000).toFixed(1).padStart(7)} s  ${name}`, ...details].join(' ')
}
