import { Agent } from 'node:http'
import type { Ask } from './ask.ts'
import type { Catalogue, TrueBlob, TrueManifest, TrueTag } from './catalogue.ts'
import type { Random } from './random.ts'

/** How most clients ask, by how often they do. */
const quick = {
  whole: 8,
  crowd: 10,
  middle: 3,
  'to-end': 3,
  suffix: 2,
  'open-ended': 3,
  head: 3,
  tag: 10,
  digest: 5,
  conditional: 3,
  'head-tag': 2,
  leaver: 4,
  foreign: 1,
  absent: 1,
  ping: 1,
} as const

/** What takes long is done by a few, who do nothing else. */
const patient = { slow: 6, lingering: 12, stalled: 1 } as const

export type Patience = 'quick' | 'patient'

type Habit = keyof typeof quick | keyof typeof patient

const accept = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')
const MiB = 1024 * 1024
const large = 16 * MiB
/** Bytes: more than lies in buffers, by far, and not more than is had in a moment. */
const lingered = { from: 9 * MiB, to: 33 * MiB }
/** Milliseconds: four times the mirror's patience with clients, which a socket's timer may count twice. */
const stall = 40_000

/** What one client asks next; its own connection is kept and used again by most. */
export class Habits {
  readonly #random: Random
  readonly #catalogue: Catalogue
  readonly #hot: () => TrueBlob
  readonly #habits: Readonly<Partial<Record<Habit, number>>>
  readonly #lingered: readonly TrueBlob[]
  #had: TrueBlob | undefined
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })

  /** `hot`: the blob that a crowd of clients wants just now. */
  constructor(random: Random, catalogue: Catalogue, patience: Patience, hot: () => TrueBlob) {
    this.#habits = patience === 'quick' ? quick : patient
    this.#random = random
    this.#catalogue = catalogue
    this.#hot = hot
    this.#lingered = catalogue.blobs.filter(({ bytes: { size } }) => size >= lingered.from && size <= lingered.to)
  }

  next(): Ask {
    const random = this.#random
    const habit = this.#had ? 'lingering' : random.weighted<Habit>(this.#habits)
    switch (habit) {
      case 'crowd':
        return wholeBlob(this.#hot(), { habit })
      case 'whole':
        return this.#kept(wholeBlob(this.#blob(), { habit }))
      case 'middle': {
        const blob = this.#blob(2)
        const from = random.between(0, blob.bytes.size - 1)
        return this.#kept(
          rangeOf(blob, from, random.between(from + 1, Math.min(blob.bytes.size, from + 8 * MiB)), habit),
        )
      }
      case 'to-end': {
        const blob = this.#blob(2)
        return this.#kept(rangeOf(blob, random.between(0, blob.bytes.size - 1), blob.bytes.size, habit))
      }
      case 'suffix': {
        const blob = this.#blob(2)
        const length = random.between(1, Math.min(blob.bytes.size, 2 * MiB))
        const ask = rangeOf(blob, blob.bytes.size - length, blob.bytes.size, habit)
        return { ...ask, visit: { ...ask.visit, headers: { range: `bytes=-${length}` } } }
      }
      case 'open-ended': {
        const blob = this.#blob(2)
        const ask = rangeOf(blob, random.between(0, blob.bytes.size - 1), blob.bytes.size, habit)
        return { ...ask, visit: { ...ask.visit, leaveAfter: random.between(1, 4 * MiB) } }
      }
      case 'head': {
        const ask = wholeBlob(this.#blob(), { habit })
        return this.#kept({ ...ask, visit: { ...ask.visit, method: 'HEAD' } })
      }
      case 'tag':
        return this.#kept(tagAsk(random.pick(this.#catalogue.tags), habit))
      case 'head-tag': {
        const ask = tagAsk(random.pick(this.#catalogue.tags), habit)
        return this.#kept({ ...ask, visit: { ...ask.visit, method: 'HEAD' } })
      }
      case 'conditional': {
        const tag = random.pick(this.#catalogue.tags)
        const ask = tagAsk(tag, habit)
        const known = { ...ask.visit.headers, 'if-none-match': `"${random.pick(tag.versions).digest}"` }
        return this.#kept({ ...ask, visit: { ...ask.visit, headers: known } })
      }
      case 'digest':
        return this.#kept(manifestAsk(random.pick(this.#catalogue.manifests), habit))
      case 'slow':
        return wholeBlob(this.#blob(), { habit, rate: random.between(300_000, 8_000_000), leaveIn: 20_000 })
      case 'lingering': {
        // Had quickly first, so that what is read slowly then is stored already.
        const had = this.#had
        this.#had = had ? undefined : random.pick(this.#lingered)
        if (had) return wholeBlob(had, { habit, rate: random.between(250_000, 500_000), leaveIn: 25_000 })
        return wholeBlob(this.#had ?? this.#blob(large), { habit })
      }
      case 'stalled':
        return wholeBlob(this.#blob(large), { habit, pauseFor: stall })
      case 'leaver':
        return wholeBlob(this.#blob(), { habit, leaveIn: random.between(1, 1500) })
      case 'foreign': {
        const { digest } = this.#blob()
        const repository = 'library/elsewhere'
        return {
          habit,
          visit: get(`/v2/${repository}/blobs/${digest}`),
          expectation: { kind: 'nothing', repository, reference: digest },
        }
      }
      case 'absent': {
        const { repository } = random.pick(this.#catalogue.tags)
        const reference = `none-${random.between(1, 20)}`
        return {
          habit,
          visit: get(`/v2/${repository}/manifests/${reference}`),
          expectation: { kind: 'nothing', repository, reference },
        }
      }
      case 'ping':
        return this.#kept({ habit, visit: get('/v2/'), expectation: { kind: 'ping' } })
    }
  }

  end(): void {
    this.#agent.destroy()
  }

  /** Small ones more often: they cost nothing. `least`: bytes. */
  #blob(least = 0): TrueBlob {
    const random = this.#random
    const found = this.#catalogue.blobs.filter(({ bytes }) => bytes.size >= least)
    const [one, other] = [random.pick(found), random.pick(found)]
    return one.bytes.size < other.bytes.size || random.chance(0.4) ? one : other
  }

  #kept(ask: Ask): Ask {
    return { ...ask, visit: { ...ask.visit, agent: this.#agent } }
  }
}

export function wholeBlob(
  { repository, digest, bytes }: TrueBlob,
  {
    habit,
    ...manners
  }: { readonly habit: string; readonly rate?: number; readonly leaveIn?: number; readonly pauseFor?: number },
): Ask {
  const check = (at: number, chunk: Buffer) => bytes.slice(at, Math.min(at + chunk.length, bytes.size)).equals(chunk)
  return {
    habit,
    visit: { ...get(`/v2/${repository}/blobs/${digest}`), ...manners, check },
    expectation: { kind: 'blob', repository, digest, bytes, from: 0, to: bytes.size },
  }
}

function rangeOf({ repository, digest, bytes }: TrueBlob, from: number, to: number, habit: string): Ask {
  const check = (at: number, chunk: Buffer) =>
    bytes.slice(from + at, Math.min(from + at + chunk.length, to)).equals(chunk)
  const last = to === bytes.size ? '' : to - 1
  return {
    habit,
    visit: { ...get(`/v2/${repository}/blobs/${digest}`), headers: { range: `bytes=${from}-${last}` }, check },
    expectation: { kind: 'blob', repository, digest, bytes, from, to },
  }
}

export function tagAsk(tag: TrueTag, habit: string): Ask {
  const { repository, tag: name } = tag
  return {
    habit,
    visit: { ...get(`/v2/${repository}/manifests/${name}`), headers: { accept } },
    expectation: { kind: 'tag', tag },
  }
}

export function manifestAsk(manifest: TrueManifest, habit: string): Ask {
  const { repository, digest } = manifest
  return {
    habit,
    visit: { ...get(`/v2/${repository}/manifests/${digest}`), headers: { accept } },
    expectation: { kind: 'manifest', manifest },
  }
}

function get(path: string): Ask['visit'] {
  return { method: 'GET', path, headers: {}, agent: undefined }
}
