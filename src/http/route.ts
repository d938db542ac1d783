import type { Target } from '../cache/mirror.ts'
import { RegistryError } from '../oci/error.ts'
import { isRepositoryName } from '../oci/reference.ts'
import { canonicalHost, dockerHub } from '../oci/registry-host.ts'

/** Which upstreams there are, and which one is meant where a request names none. */
export interface Routing {
  /** '' or such as `/mirror`. */
  readonly basePath: string
  readonly upstreams: ReadonlySet<string>
  readonly defaultUpstream: string
}

export type Resource = 'manifests' | 'blobs' | 'tags' | 'referrers'

/** Something of a repository. */
export interface NamedRoute {
  readonly kind: Resource
  readonly target: Target
  readonly reference: string
  /** The `ns` parameter as it was sent, where it chose the upstream. */
  readonly namespace: string | undefined
}

export type Route = { readonly kind: 'ping' } | { readonly kind: 'none' } | NamedRoute

/** A request's target in origin form or in absolute form (RFC 9112 §3.2). */
export function parseTarget(text: string): { path: string; query: string } {
  const [, path = '', query = ''] = /^(?:https?:\/\/[^/?]*)?([^?]*)\??(.*)$/is.exec(text) ?? []
  return { path, query }
}

/**
 * What a path names whose last two segments are a resource. `name` is all before them, as it was sent: a prefix, `v2`, and
 * the repository's name. A mirror's path prefix counts as the beginning of the name: Docker puts it before `v2`, podman and
 * BuildKit behind it. Undefined where there is no `v2` or no name.
 *
 * Throws RegistryError NAME_INVALID, and DENIED for an upstream that is not allowed.
 */
export function namedRoute(
  kind: Resource,
  { name, reference, query }: { readonly name: string; readonly reference: string; readonly query: string },
  routing: Routing,
): NamedRoute | undefined {
  const segments = name.split('/')
  const version = segments.indexOf('v2')
  if (version < 0 || version === segments.length - 1) return undefined
  const [decodedReference = ''] = decode([reference])
  const ns = query === '' ? null : new URLSearchParams(query).get('ns')
  return {
    kind,
    reference: decodedReference,
    ...targetOf(decode(segments.toSpliced(version, 1)), ns || undefined, routing),
  }
}

/** As a name and a value: the answer says which namespace it is for, where the request named one. */
export function namespaceHeader(route: Route): string[] {
  return 'namespace' in route && route.namespace !== undefined ? ['OCI-Namespace', route.namespace] : []
}

/** Segment by segment, so that an encoded slash stays inside its segment, where no grammar allows it. */
function decode(segments: readonly string[]): string[] {
  try {
    return segments.map((segment) => (segment.includes('%') ? decodeURIComponent(segment) : segment))
  } catch (cause) {
    throw new RegistryError('NAME_INVALID', { detail: 'the path is not valid percent-encoding', cause })
  }
}

function targetOf(
  name: readonly string[],
  ns: string | undefined,
  { upstreams, defaultUpstream }: Routing,
): { target: Target; namespace: string | undefined } {
  const [first = '', ...others] = name
  const named = canonicalHost(first)
  const asked = ns === undefined ? undefined : canonicalHost(ns)
  if (asked !== undefined && upstreams.has(asked)) {
    return { target: validTarget(asked, named === asked ? others : name), namespace: ns }
  }
  if (upstreams.has(named)) return { target: validTarget(named, others), namespace: undefined }
  if (ns !== undefined) throw denied(ns)
  if (looksLikeHost(first)) throw denied(first)
  return { target: validTarget(defaultUpstream, name), namespace: undefined }
}

function validTarget(upstream: string, segments: readonly string[]): Target {
  const given = segments.join('/')
  if (!segments.every((segment) => !segment.includes('/')) || !isRepositoryName(given)) {
    throw new RegistryError('NAME_INVALID', { detail: `${shown(given)} is not a repository name` })
  }
  const name = upstream === dockerHub && segments.length === 1 ? `library/${given}` : given
  return { upstream, name }
}

function looksLikeHost(segment: string): boolean {
  return segment === 'localhost' || segment.includes('.') || segment.includes(':')
}

function denied(host: string): RegistryError {
  return new RegistryError('DENIED', {
    detail: `${shown(host)} is not an upstream of this mirror; it serves configured ones only`,
  })
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 300))
}
