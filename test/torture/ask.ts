import type { Bytes } from '../support/bytes.ts'
import type { TrueManifest, TrueTag } from './catalogue.ts'
import type { Visit } from './visit.ts'

/** What the right answer to a request holds. */
export type Expectation =
  | {
      readonly kind: 'blob'
      readonly repository: string
      readonly digest: string
      readonly bytes: Bytes
      /** The range that was asked for; `to` is not part of it. */
      readonly from: number
      readonly to: number
    }
  | { readonly kind: 'manifest'; readonly manifest: TrueManifest }
  | { readonly kind: 'tag'; readonly tag: TrueTag }
  /** No repository of that name holds it: never any bytes. */
  | { readonly kind: 'nothing'; readonly repository: string; readonly reference: string }
  | { readonly kind: 'ping' }

/** One request of a client, and what it should get. */
export interface Ask {
  readonly habit: string
  readonly visit: Visit
  readonly expectation: Expectation
}

/** What it is about, for those who read a report. */
export function subjectOf(expectation: Expectation): string {
  switch (expectation.kind) {
    case 'blob':
      return `${expectation.repository}@${expectation.digest}`
    case 'manifest':
      return `${expectation.manifest.repository}@${expectation.manifest.digest}`
    case 'tag':
      return nameOf(expectation.tag)
    case 'nothing':
      return subjectIn(expectation.repository, expectation.reference)
    case 'ping':
      return '/v2/'
  }
}

/** A tag or a digest, in its repository. */
export function subjectIn(repository: string, reference: string): string {
  return `${repository}${reference.includes(':') ? '@' : ':'}${reference}`
}

export function nameOf({ repository, tag }: Pick<TrueTag, 'repository' | 'tag'>): string {
  return `${repository}:${tag}`
}
