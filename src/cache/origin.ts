import type { Upstream, Visibility } from '../upstream/upstream.ts'

/** A repository as a place to get content from. */
export interface Origin {
  readonly upstream: Upstream
  /** As the upstream knows it: `library/alpine`. */
  readonly name: string
  /** Whole: `docker.io/library/alpine`. */
  readonly repository: string
}

export function originOf(upstream: Upstream, name: string): Origin {
  return { upstream, name, repository: `${upstream.name}/${name}` }
}

/** Whether what was proven so openly may be served to anyone who reaches the mirror. */
export function mayServe(origin: Origin, visibility: Visibility): boolean {
  return visibility === 'public' || origin.upstream.servesPrivate
}
