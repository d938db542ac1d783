import type { RequestKind } from './request-log.ts'

/** Where content lies on the registry's own host that is reached by relative redirects. */
export const relativePrefix = '/artifacts-downloads'

export type Origin = 'registry' | 'cdn'

export interface Route {
  readonly kind: RequestKind
  readonly path: string
  readonly query: URLSearchParams
  readonly repository: string | undefined
  readonly reference: string | undefined
}

const patterns: readonly (readonly [RequestKind, RegExp])[] = [
  ['ping', /^\/v2\/?$/],
  ['token', /^\/token\/?$/],
  ['manifest', /^\/v2\/(.+)\/manifests\/([^/]+)$/],
  ['blob', /^\/v2\/(.+)\/blobs\/([^/]+)$/],
  ['tags', /^\/v2\/(.+)\/tags\/list$/],
  ['referrers', /^\/v2\/(.+)\/referrers\/([^/]+)$/],
  ['cdn', new RegExp(`^${relativePrefix}/(.+)/blobs/([^/]+)$`)],
]

const cdnPatterns: typeof patterns = [
  ['token', /^\/token\/?$/],
  ['cdn', /^\/(.+)\/blobs\/([^/]+)$/],
]

/** What a request target means to the registry, or to the second origin. */
export function routeOf(origin: Origin, target: string): Route {
  const [path = '', search = ''] = target.split('?', 2)
  const query = new URLSearchParams(search)
  const candidates = origin === 'cdn' ? cdnPatterns : patterns
  for (const [kind, pattern] of candidates) {
    const match = pattern.exec(path)
    if (match) return { kind, path, query, repository: match[1], reference: match[2] }
  }
  return { kind: origin === 'cdn' ? 'cdn' : 'other', path, query, repository: undefined, reference: undefined }
}
