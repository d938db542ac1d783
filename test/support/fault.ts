import type { Answer } from './answer.ts'
import type { Behaviour } from './behaviour.ts'
import { matches, type RecordedRequest, type RequestFilter } from './request-log.ts'

/** A standing habit of a registry, beneath the faults. */
export interface Quirk {
  readonly match: RequestFilter
  readonly behaviour: Behaviour
}

export interface FaultHandle {
  /** How many requests it has applied to. */
  readonly hits: number
  remove(): void
}

interface Fault extends Quirk {
  hits: number
}

/**
 * One fault applies to a request, on top of the quirks. Faults with `times` go first, in the order they were set, so
 * that a sequence can be played; of the others the newest counts.
 *
 * A 401 that only asks for a token is spared, so that the fault hits the request that comes back with one: unless the
 * filter is empty or names a status. Where blobs are redirected, their bodies are those of kind `cdn`.
 */
export class Faults {
  readonly #quirks: readonly Quirk[]
  #faults: Fault[] = []

  constructor(quirks: readonly Quirk[]) {
    this.#quirks = quirks
  }

  add(match: RequestFilter, behaviour: Behaviour): FaultHandle {
    const fault: Fault = { match, behaviour, hits: 0 }
    this.#faults.push(fault)
    return {
      get hits() {
        return fault.hits
      },
      remove: () => {
        this.#faults = this.#faults.filter((other) => other !== fault)
      },
    }
  }

  clear(): void {
    this.#faults = []
  }

  /** `request` carries the status that the answer would have. */
  take(request: RecordedRequest, answer: Answer): Behaviour {
    const applies = ({ match }: Quirk) => (!answer.challenge || seesChallenges(match)) && matches(match, request)
    const live = this.#faults.filter(
      (fault) => fault.hits < (fault.behaviour.times ?? Number.POSITIVE_INFINITY) && applies(fault),
    )
    const fault = live.find(({ behaviour }) => behaviour.times !== undefined) ?? live.at(-1)
    if (fault) fault.hits += 1
    const quirks = this.#quirks.filter(applies)
    return Object.assign({}, ...quirks.map(({ behaviour }) => behaviour), fault?.behaviour) as Behaviour
  }
}

function seesChallenges(match: RequestFilter): boolean {
  return typeof match === 'object' && ('status' in match || Object.keys(match).length === 0)
}
