import type { IncomingMessage } from 'node:http'
import type { Access } from './access.ts'
import { type Answer, errorAnswer, jsonAnswer, nothing } from './answer.ts'
import { bytesOf } from './bytes.ts'
import type { Cdn } from './cdn.ts'
import type { Content, StoredManifest } from './content.ts'
import type { RateLimit } from './rate-limit.ts'
import { listReferrers } from './referrers.ts'
import type { Route } from './route.ts'

export interface RegistryOptions {
  /** What ETag is on manifests: `"digest"` (the default), opaque, weak and opaque, or absent. */
  readonly etag?: 'digest' | 'opaque' | 'weak' | 'none'
  /** Docker Hub: an index for whom does not accept one becomes its linux/amd64 manifest. */
  readonly downConverts?: boolean
  /** quay.io: schema 1 for whom accepts no OCI type. */
  readonly schema1?: boolean
  /** The referrers API: there (the default), 404, or 400 (quay.io). */
  readonly referrers?: 'supported' | 'absent' | 'broken'
  /** Most tags in one answer. */
  readonly tagPageSize?: number
}

export interface RegistryParts {
  readonly content: Content
  readonly access: Access
  readonly cdn: Cdn | undefined
  readonly rateLimit: RateLimit | undefined
  /** Where everything but /v2/ is sent instead. */
  readonly elsewhere: ((route: Route) => Answer) | undefined
}

/** The distribution API as a function from requests to answers. */
export class Registry {
  readonly #options: RegistryOptions
  readonly #parts: RegistryParts

  constructor(options: RegistryOptions, parts: RegistryParts) {
    this.#options = options
    this.#parts = parts
  }

  answer(request: IncomingMessage, route: Route, user: string | undefined): Answer {
    const { access, elsewhere, rateLimit } = this.#parts
    const { kind, repository = '', query } = route
    const method = request.method ?? ''
    if (kind === 'token') return access.issue(request, query)
    if (kind === 'cdn') return this.#download(request, route)
    if (method !== 'GET' && method !== 'HEAD') return errorAnswer(405, 'UNSUPPORTED')
    if (elsewhere && kind !== 'ping' && kind !== 'other') return elsewhere(route)
    const refusal = access.refuse(request, kind === 'ping' ? undefined : repository)
    if (refusal) return refusal
    if (kind === 'ping') return withVersion(jsonAnswer(200, {}))
    if (kind === 'other') return errorAnswer(404, 'UNSUPPORTED')
    if (!this.#parts.content.has(repository)) return errorAnswer(404, 'NAME_UNKNOWN')
    if (kind === 'blob') return withVersion(this.#blob(method, route))
    if (kind === 'tags') return withVersion(this.#tags(repository, query))
    if (kind === 'referrers') return withVersion(this.#referrers(route))
    const answer = this.#manifest(request, route)
    return withVersion(rateLimit?.apply(answer, method, user) ?? answer)
  }

  /** The second origin's part. */
  #download(request: IncomingMessage, route: Route): Answer {
    const { cdn, content } = this.#parts
    const blob = content.blob(route.repository ?? '', route.reference ?? '')
    return cdn?.answer(request, route, blob) ?? errorAnswer(404, 'UNKNOWN')
  }

  #blob(method: string, { repository = '', reference = '' }: Route): Answer {
    const { cdn, content } = this.#parts
    const body = content.blob(repository, reference)
    if (!body) return errorAnswer(404, 'BLOB_UNKNOWN')
    if (cdn && !(method === 'HEAD' && cdn.options.head === 'direct')) return cdn.redirect(repository, reference)
    const headers = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': reference,
      etag: `"${reference}"`,
    }
    return { status: 200, headers, body, ranges: true }
  }

  #manifest(request: IncomingMessage, { repository = '', reference = '' }: Route): Answer {
    const stored = this.#parts.content.manifest(repository, reference)
    if (!stored) return errorAnswer(404, 'MANIFEST_UNKNOWN')
    const { mediaType, body, digest } = this.#converted(stored, repository, request.headers.accept ?? '*/*')
    const etag = this.#etag(digest)
    const headers = { 'content-type': mediaType, 'docker-content-digest': digest, ...(etag && { etag }) }
    const known = request.headers['if-none-match']?.split(',').map((tag) => tag.trim())
    if (etag && known?.includes(etag)) return { status: 304, headers, body: nothing }
    return { status: 200, headers, body: bytesOf(body) }
  }

  #converted(stored: StoredManifest, repository: string, accept: string): StoredManifest {
    const anything = accept.includes('*/*')
    if (this.#options.downConverts && !anything && !/manifest\.list\.v2|image\.index\.v1/.test(accept)) {
      const amd64 = amd64Of(stored)
      return (amd64 === undefined ? undefined : this.#parts.content.manifest(repository, amd64)) ?? stored
    }
    if (this.#options.schema1 && !anything && !accept.includes('vnd.oci.')) {
      const body = Buffer.from(JSON.stringify({ schemaVersion: 1, name: repository, signatures: [] }))
      return { ...stored, mediaType: 'application/vnd.docker.distribution.manifest.v1+prettyjws', body }
    }
    return stored
  }

  #etag(digest: string): string | undefined {
    const { etag = 'digest' } = this.#options
    if (etag === 'none') return undefined
    if (etag === 'digest') return `"${digest}"`
    return `${etag === 'weak' ? 'W/' : ''}"${digest.slice(-12)}"`
  }

  /** `last` is exclusive; Link where more follow (distribution-spec, "Listing Tags"). */
  #tags(name: string, query: URLSearchParams): Answer {
    const last = query.get('last') ?? ''
    const all = this.#parts.content.tags(name).filter((tag) => tag > last)
    const asked = query.has('n') ? Number(query.get('n')) : all.length
    const tags = all.slice(0, Math.min(asked, this.#options.tagPageSize ?? asked))
    const more = tags.length > 0 && tags.length < all.length
    const next = `</v2/${name}/tags/list?n=${tags.length}&last=${tags.at(-1)}>; rel="next"`
    return jsonAnswer(200, { name, tags }, more ? { link: next } : {})
  }

  #referrers({ repository = '', reference = '', query }: Route): Answer {
    const { referrers = 'supported' } = this.#options
    if (referrers === 'absent') return errorAnswer(404, 'UNSUPPORTED')
    if (referrers === 'broken') return errorAnswer(400, 'UNSUPPORTED')
    return listReferrers(this.#parts.content.manifests(repository), reference, query.get('artifactType') ?? undefined)
  }
}

function withVersion(answer: Answer): Answer {
  return { ...answer, headers: { ...answer.headers, 'docker-distribution-api-version': 'registry/2.0' } }
}

function amd64Of({ body }: StoredManifest): string | undefined {
  const { manifests = [] } = JSON.parse(body.toString()) as {
    manifests?: { digest: string; platform?: { os: string; architecture: string } }[]
  }
  return manifests.find(({ platform }) => platform?.os === 'linux' && platform.architecture === 'amd64')?.digest
}
