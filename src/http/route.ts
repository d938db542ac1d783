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

export type Route =
  | { readonly kind: 'ping' }
  | { readonly kind: 'none' }
  | {
      readonly kind: Resource
      readonly target: Target
      readonly reference: string
      /** The `ns` parameter as it was sent, where it is what chose the upstream. */
      readonly namespace: string | undefined
    }

const none: Route = { kind: 'none' }

/**
 * Reads a request's target (distribution-spec, "Endpoints"), in origin form or in absolute form (RFC 9112 §3.2).
 *
 * The name is parsed from the right, since it has any number of segments and may itself contain `manifests`. What
 * stands before `/v2` counts as its beginning: Docker puts a mirror's path prefix there, podman and BuildKit behind it.
 * Throws RegistryError NAME_INVALID, and DENIED for an upstream that is not allowed.
 */
export function parseRoute(requestTarget: string, routing: Routing): Route {
  const { path, query } = split(requestTarget)
  const { basePath } = routing
  if (!path.startsWith(`${basePath}/`)) return none
  const segments = path.slice(basePath.length + 1).split('/')
  const version = segments.indexOf('v2')
  if (version < 0) return none
  const prefix = segments.slice(0, version)
  const rest = segments.slice(version + 1)
  if (rest.length === 0 || (rest.length === 1 && rest[0] === '')) return { kind: 'ping' }
  const resource = resourceOf(rest)
  if (!resource) return none
  const name = decode([...prefix, ...rest.slice(0, -2)])
  const ns = query === '' ? null : new URLSearchParams(query).get('ns')
  return { ...resource, ...targetOf(name, ns || undefined, routing) }
}

function split(requestTarget: string): { path: string; query: string } {
  const [, path = '', query = ''] = /^(?:https?:\/\/[^/?]*)?([^?]*)\??(.*)$/is.exec(requestTarget) ?? []
  return { path, query }
}

function resourceOf(rest: readonly string[]): { kind: Resource; reference: string } | undefined {
  const kind = rest.at(-2)
  const reference = rest.at(-1)
  if (rest.length < 3 || reference === undefined || reference === '') return undefined
  if (kind === 'tags') return reference === 'list' ? { kind, reference } : undefined
  if (kind !== 'manifests' && kind !== 'blobs' && kind !== 'referrers') return undefined
  return { kind, reference: decode([reference])[0] ?? '' }
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
