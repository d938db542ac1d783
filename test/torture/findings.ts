import { toleratedAs } from './known/all.ts'
import { type Invariant, invariants, type Violation } from './violation.ts'

/** One violation of the run, and what was around it. */
interface Noted extends Violation {
  /** The known fault that it comes from; undefined where it is new. */
  readonly known: string | undefined
  readonly context: readonly string[]
}

/** Everything that was seen and must not be. */
export class Findings {
  readonly #noted: Noted[] = []
  readonly #startedAt = performance.now()
  readonly #context: () => readonly string[]
  readonly #hints: () => ReadonlySet<string>

  /** `context`: lines that help to understand; `hints`: what has been done in this run, by name. */
  constructor(context: () => readonly string[], hints: () => ReadonlySet<string>) {
    this.#context = context
    this.#hints = hints
  }

  add(invariant: Invariant, subject: string, detail: string): void {
    const violation: Violation = { invariant, subject, detail, at: (performance.now() - this.#startedAt) / 1000 }
    const [known] = toleratedAs(violation, this.#hints())
    // The same again says nothing more.
    const isNew = !this.#noted.some((other) => other.invariant === invariant && other.subject === subject)
    this.#noted.push({ ...violation, known, context: isNew && known === undefined ? this.#context() : [] })
  }

  /** Those that nothing explains. */
  get unexplained(): readonly Violation[] {
    return this.#noted.filter(({ known }) => known === undefined)
  }

  /** How often each known fault was met. */
  get tolerated(): ReadonlyMap<string, number> {
    return this.#countBy(({ known }) => known)
  }

  report(most: number): string {
    const lines: string[] = []
    for (const [name, count] of this.tolerated) lines.push(`known fault ${name}: met ${count} times`)
    const counts = this.#countBy(({ invariant, known }) => (known === undefined ? invariant : undefined))
    for (const [invariant, count] of counts) {
      lines.push(`VIOLATED ${invariant} (${invariants[invariant as Invariant]}): ${count} times`)
    }
    for (const { invariant, at, subject, detail, context } of this.#noted
      .filter(({ known }) => known === undefined)
      .slice(0, most)) {
      lines.push(
        '',
        `${at.toFixed(1)} s  ${invariant}  ${subject}`,
        `  ${detail}`,
        ...context.map((line) => `    ${line}`),
      )
    }
    return lines.join('\n')
  }

  #countBy(of: (noted: Noted) => string | undefined): Map<string, number> {
    const counts = new Map<string, number>()
    for (const noted of this.#noted) {
      const key = of(noted)
      if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    return counts
  }
}
