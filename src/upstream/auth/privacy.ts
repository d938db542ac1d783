import type { Identity } from '../registry-client.ts'

export interface PrivacyOptions {
  readonly hasLogin: boolean
  readonly privateRepositories: 'refuse' | 'serve'
}

/**
 * In whose name to ask. Most logins are configured for the rate limit alone, and must not open private repositories to
 * every client of the mirror. So, unless private repositories may be served, each piece of content has to be shown to a
 * stranger first:
 *
 *     content     | shown by                                        | had by
 *     a blob      | an anonymous GET: nobody counts those           | the same GET
 *     a manifest  | an anonymous HEAD that tells a rate limit       | a GET of that digest with the login, which is counted
 *                 | an anonymous GET, where no limit is told        | the same GET
 *
 * A name proves nothing: what is pushed to it next may be private. Neither does a HEAD where no limit makes the GET
 * another matter: some registries guard the GET alone.
 */
export class Privacy {
  /** Whether content must be shown to a stranger before it is served. */
  readonly mustProve: boolean
  /** For what is proven by being had, and for questions. */
  readonly identity: Identity

  constructor({ hasLogin, privateRepositories }: PrivacyOptions) {
    this.mustProve = hasLogin && privateRepositories === 'refuse'
    this.identity = hasLogin && !this.mustProve ? 'login' : 'anonymous'
  }
}
