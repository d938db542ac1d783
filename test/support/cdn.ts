import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type Answer, redirect } from './answer.ts'
import { type Bytes, bytesOf } from './bytes.ts'
import { type Route, relativePrefix } from './route.ts'

export interface CdnOptions {
  /** Of the redirect; 307 unless given. */
  readonly status?: 302 | 307
  /** Blob HEADs: redirected (the default), redirected and then answered 403, or answered by the registry. */
  readonly head?: 'redirect' | 'refuse' | 'direct'
  /** A relative Location: the content lies on the registry's own host, under another path. */
  readonly relative?: boolean
}

/** The second origin, where the bytes are: signed URLs that expire, and no other authorization than the signature. */
export class Cdn {
  readonly options: CdnOptions
  readonly #signatures = new Set<string>()
  readonly #url: () => string

  constructor(options: CdnOptions, url: () => string) {
    this.options = options
    this.#url = url
  }

  expireSignatures(): void {
    this.#signatures.clear()
  }

  redirect(repository: string, digest: string): Answer {
    const signature = randomBytes(12).toString('base64url')
    this.#signatures.add(signature)
    const base = this.options.relative ? relativePrefix : this.#url()
    return redirect(
      this.options.status ?? 307,
      `${base}/${repository}/blobs/${digest}?expires=300&signature=${signature}`,
    )
  }

  /** As S3 does: two ways to authorize are one too many. On the registry's own host an Authorization header is right. */
  answer(request: IncomingMessage, { query, reference: digest }: Route, blob: Bytes | undefined): Answer {
    const {
      method,
      headers: { authorization },
    } = request
    if (authorization !== undefined && !this.options.relative) return xml(400, 'InvalidArgument')
    const signed = this.#signatures.has(query.get('signature') ?? '')
    if (!signed || (method === 'HEAD' && this.options.head === 'refuse')) return xml(403, 'AccessDenied')
    if (!blob) return xml(404, 'NoSuchKey')
    const headers = { 'content-type': 'application/octet-stream', etag: `"${digest}"` }
    return { status: 200, headers, body: blob, ranges: true }
  }
}

function xml(status: number, code: string): Answer {
  const body = bytesOf(Buffer.from(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`))
  return { status, headers: { 'content-type': 'application/xml' }, body }
}
