import type { Upstream, Visibility } from '../upstream/upstream.ts'

/** A repository of an upstream, as a source of content. */
export interface Origin {
  readonly upstream: Upstream
  /** As the upstream knows it: `library/alpine`. */
  readonly name: string
  /** With the upstream: `docker.io/library/alpine`. */
  readonly repository: string
}

export function originOf(upstream: Upstream, name: string): Origin {
  return { upstream, name, repository: `${upstream.name}/${name}` }
}

/** Whether content that was proven with this visibility may be served to every client. */
export function mayServe(origin: Origin, visibility: Visibility): boolean {
  return visibility === 'public' || origin.upstream.servesPrivate
}
