import { algorithmOf, type Digest, digestOf, parseDigest } from '../oci/digest.ts'
import { UpstreamError, type UpstreamErrorKind } from '../oci/error.ts'
import { isManifest, manifestMediaType, parseObject } from '../oci/manifest.ts'
import { essence, isSchema1 } from '../oci/media-type.ts'
import { parseContentRange } from '../oci/range.ts'
import type { Reference } from '../oci/reference.ts'
import { isSigned, payloadOf } from '../oci/schema1.ts'
import { contentEncodingOf, contentLengthOf, type Headers, headerOf } from './transfer/response.ts'
import type { Currency, KnownTag } from './upstream.ts'

// What an answer of an upstream is taken for, and on what evidence. Pure functions; the callers act on their verdicts.
//
// | answer                                             | to a manifest                        | to a blob                        |
// | -------------------------------------------------- | ------------------------------------ | -------------------------------- |
// | 200, HTML                                          | outage: a page                       | fault, unless it has the         |
// |                                                    |                                      | length of the descriptor         |
// | 200, text that is no JSON object                   | outage: a page                       | content                          |
// | 200, empty, no JSON object, or no manifest         | fault                                | content                          |
// | 200, bytes that are not those of its digest header | fault                                | hashed as they come              |
// | 200, bytes that are not those of the digest asked  | fault                                | hashed as they come              |
// | 200, signed schema 1                               | by tag passed on and not kept;       | —                                |
// |                                                    | by digest a fault                    |                                  |
// | a content coding                                   | undone before it is judged           | raw where the length is that of  |
// |                                                    |                                      | the descriptor, else a fault     |
// | another length than the descriptor's               | —                                    | fault                            |
// | 200 to HEAD, without digest, length or own type    | unclear: a GET decides               | —                                |
// | 200 to HEAD, HTML, coded, without a length, or     | unclear: a GET decides               | unclear: a GET decides           |
// | with another digest                                |                                      |                                  |
// | 304                                                | unchanged, where an ETag was sent    | fault                            |
// |                                                    | and no other digest is named         |                                  |
// | 404 to HEAD, with the version of the API, or from  | missing: a GET decides where a       | missing: a GET decides where no  |
// | a host whose `/v2/` answers as a registry does     | record would go, or where no HEAD    | HEAD of this kind was ever 200   |
// |                                                    | of this kind was ever 200            |                                  |
// | 404 to HEAD, a page or from a storage host         | unclear: a GET decides               | unclear: a GET decides           |
// | 404 with an `errors` array                         | absent                               | absent                           |
// | 404 with other text, without a challenge           | outage: a page                       | outage: a page                   |
// | any other 404                                      | absent where the host's `/v2/`       | absent where the host's `/v2/`   |
// |                                                    | answers as a registry does, else     | answers as a registry does, else |
// |                                                    | outage                               | outage                           |
// | 404 from a storage host                            | outage                               | outage                           |
// | 403 without a challenge, HTML or text              | outage: a page                       | outage: a page                   |
// | other 401 and 403                                  | refused                              | refused                          |
// | 429; 5xx                                           | limited; outage                      | limited; outage                  |
// | any other status                                   | fault                                | fault                            |
//
// Redirects, 304, 429 and 401 are judged by status and headers alone: Go's redirects and nginx's 401 have HTML bodies.

/** Why an answer is not believed: an outage (`unavailable`), or a fault (`protocol`). */
export interface Fault {
  readonly kind: Extract<UpstreamErrorKind, 'unavailable' | 'protocol'>
  /** What was wrong with it; the end of a sentence that begins with what was asked. */
  readonly what: string
}

/** The part of an answer before its body. */
export interface Head {
  readonly status: number
  readonly headers: Headers
}

export interface JudgedManifest {
  readonly digest: Digest
  readonly mediaType: string
  /** Signed schema 1: the digest is not that of the bytes, and so nobody can check them later. */
  readonly signed: boolean
}

/**
 * What a HEAD of a manifest says. `contradicted`: a 304 that names another digest than the known one. `missing`: a 404
 * that may be a registry's. `unclear`: only a GET tells.
 */
export type HeadVerdict =
  | 'unchanged'
  | 'contradicted'
  | 'missing'
  | 'unclear'
  | { readonly digest: Digest; readonly mediaType: string; readonly size: number; readonly etag: string | undefined }

/** The answer to a HEAD of a manifest. */
export function judgeManifestHead(head: Head, reference: Reference, known: KnownTag | undefined): HeadVerdict {
  const { status, headers } = head
  if (status === 304) return isNotModified(headers, known) ? 'unchanged' : 'contradicted'
  if (isHtml(headers)) return 'unclear'
  if (status === 404) return isText(headers) ? 'unclear' : 'missing'
  const digest = parseDigest(headerOf(headers, 'docker-content-digest') ?? '')
  if (status !== 200 || !digest || ('digest' in reference && digest !== reference.digest)) return 'unclear'
  if (digest === known?.digest) return 'unchanged'
  const mediaType = typeOf(headers)
  const size = contentEncodingOf(headers) ? undefined : contentLengthOf(headers)
  // registry.access.redhat.com sends text/plain for some old images: then only the body shows the media type.
  if (!size || !mediaType.startsWith('application/vnd.') || isSchema1(mediaType)) return 'unclear'
  return { digest, mediaType, size, etag: headerOf(headers, 'etag') }
}

/** Whether a 304 confirms what is known: a condition was sent, and the answer names no other digest. */
export function isNotModified(headers: Headers, known: KnownTag | undefined): boolean {
  const named = headerOf(headers, 'docker-content-digest')
  return known?.etag !== undefined && (named === undefined || named === known.digest)
}

/** The 200 to a GET of a manifest, with its body decoded. */
export function judgeManifest(headers: Headers, body: Buffer, reference: Reference): JudgedManifest | Fault {
  const contentType = headerOf(headers, 'content-type')
  if (isHtml(headers)) return page(200, contentType)
  if (body.length === 0) return fault('an empty body')
  const parsed = parseObject(body)
  if (!parsed) return isText(headers) ? page(200, contentType) : fault('a body that is no JSON object')
  const asked = 'digest' in reference ? reference.digest : undefined
  const named = headerOf(headers, 'docker-content-digest')?.trim() || undefined
  const told = parseDigest(named ?? '')
  if (named !== undefined && !told && !asked) return fault('a Docker-Content-Digest that is no digest')
  const mediaType = manifestMediaType(contentType, body)
  const isSelf = (digest: Digest | undefined) => digest === undefined || digestOf(body, algorithmOf(digest)) === digest
  if (isSelf(asked) && isSelf(told)) {
    if (!asked && !told && isSigned(parsed)) return { digest: signedDigest(body), mediaType, signed: true }
    if (!asked && !isManifest(contentType, parsed)) return fault('JSON that is no manifest')
    return { digest: asked ?? told ?? digestOf(body), mediaType, signed: false }
  }
  if (isSigned(parsed)) {
    if (asked)
      return fault('a signed schema 1 manifest, whose digest is not that of its bytes: it can be had by tag only')
    const payload = payloadOf(parsed, body)
    if (told && (!payload || digestOf(payload, algorithmOf(told)) === told))
      return { digest: told, mediaType, signed: true }
  }
  return fault(isSelf(asked) ? `bytes that are not ${told}, as its header says` : `bytes that are not ${asked}`)
}

/** The 404 to a GET that came from a registry. `ask`: only the host's `/v2/` tells. */
export function judgeMissing(headers: Headers, body: Buffer): 'absent' | 'ask' | Fault {
  const parsed = parseObject(body)
  if (Array.isArray(parsed?.['errors'])) return 'absent'
  const isPage = isHtml(headers) || (!parsed && body.length > 0)
  return isPage && !isChallenge(headers) ? page(404, headerOf(headers, 'content-type')) : 'ask'
}

/** Whether `/v2/` was answered as a registry answers it (distribution-spec, "Determining Support"). */
export function isRegistry({ status, headers }: Head): boolean {
  if (status === 401) return isChallenge(headers)
  if (status !== 200 || isHtml(headers)) return false
  return headers['content-type'] === undefined || namesApi(headers) || /\bjson$/.test(typeOf(headers))
}

/** Whether an answer says that it comes from a registry. */
export function namesApi(headers: Headers): boolean {
  return headers['docker-distribution-api-version'] !== undefined
}

/** A 403: whether it is a page for a person. `text`: a page, unless its body is JSON. */
export function judgeRefusal({ status, headers }: Head): 'page' | 'text' | 'refusal' {
  if (status !== 403 || isChallenge(headers)) return 'refusal'
  if (isHtml(headers)) return 'page'
  return isText(headers) ? 'text' : 'refusal'
}

/**
 * The 200 or 206 to a GET of a blob: the size of the whole blob, undefined where nobody tells. `expected` is the size
 * that its descriptor says.
 */
export function judgeBlob(
  { status, headers }: Head,
  expected: number | undefined,
): { size: number | undefined } | Fault {
  const total = status === 206 ? parseContentRange(headerOf(headers, 'content-range'))?.size : contentLengthOf(headers)
  const matches = expected !== undefined && total === expected
  const coding = contentEncodingOf(headers)
  // Object stores keep the label as metadata of bytes that they send raw: "gzip", "aws-chunked".
  if (coding !== undefined && !matches) return fault(`a blob in the content coding ${printable(coding)}`)
  if (status === 200 && isHtml(headers) && !matches) return fault(`a page (${printable(typeOf(headers))})`)
  if (expected !== undefined && total !== undefined && !matches) {
    return fault(`${total} bytes of a blob of ${expected}`)
  }
  return { size: total }
}

/** The answer to a HEAD of a blob: its size. `missing` and `unclear` as of a manifest. */
export function judgeBlobHead({ status, headers }: Head, digest: Digest): number | 'missing' | 'unclear' {
  if (status === 404) return isText(headers) ? 'unclear' : 'missing'
  if (status !== 200 || contentEncodingOf(headers) !== undefined || isHtml(headers)) return 'unclear'
  if (namesOther(headers, digest)) return 'unclear'
  return contentLengthOf(headers) ?? 'unclear'
}

/** The 200 or 206 to a GET of one byte of a blob, whose body nobody reads. */
export function judgeBlobProbe(head: Head, digest: Digest): { size: number | undefined } | Fault {
  const { status, headers } = head
  if (namesOther(headers, digest)) return fault('the digest of something else')
  // A page ignores the range.
  if (status === 206) return { size: parseContentRange(headerOf(headers, 'content-range'))?.size }
  return judgeBlob(head, undefined)
}

/** What an answer says of its own age. */
export function judgeCurrency(headers: Headers): Currency {
  const age = /^\d{1,10}$/.exec(headerOf(headers, 'age')?.trim() ?? '')?.[0]
  const warning = [headers['warning'] ?? []].flat().find((text) => /^\s*299\b/.test(text))
  const isStale = warning !== undefined || [headers['cache-status'] ?? []].flat().some(hasNegativeTtl)
  const told = warning !== undefined && /^[\t\x20-\x7e]{1,512}$/.test(warning) ? warning.trim() : undefined
  return {
    age: Number(age ?? 0) * 1000,
    warning: isStale ? (told ?? '299 - "stale: answered from a cache that could not confirm it"') : undefined,
  }
}

/** RFC 9211 §2.6, in any member of the list; what is quoted is no parameter. */
function hasNegativeTtl(text: string): boolean {
  return /;\s*ttl=-\d/.test(text.replace(/"(?:[^"\\]|\\.)*"/g, '""'))
}

/** `asked` is the request, in words. */
export function faultError(upstream: string, asked: string, { kind, what }: Fault): UpstreamError {
  return new UpstreamError(upstream, kind, `${asked} was answered with ${what}`)
}

/** Signed schema 1 without a digest header: its payload is what is hashed, where its signatures say which that is. */
function signedDigest(body: Buffer): Digest {
  return digestOf(payloadOf(parseObject(body) ?? {}, body) ?? body)
}

function namesOther(headers: Headers, digest: Digest): boolean {
  const named = parseDigest(headerOf(headers, 'docker-content-digest')?.trim() ?? '')
  return named !== undefined && algorithmOf(named) === algorithmOf(digest) && named !== digest
}

function isChallenge(headers: Headers): boolean {
  return headers['www-authenticate'] !== undefined
}

function isHtml(headers: Headers): boolean {
  return ['text/html', 'application/xhtml+xml'].includes(typeOf(headers))
}

/** HTML too. */
function isText(headers: Headers): boolean {
  return isHtml(headers) || typeOf(headers).startsWith('text/')
}

function typeOf(headers: Headers): string {
  return essence(headerOf(headers, 'content-type') ?? '')
}

function page(status: number, contentType: string | undefined): Fault {
  const type = printable(essence(contentType ?? ''))
  return { kind: 'unavailable', what: `${status} with a page (${type || 'no type'}): something in front answers` }
}

function fault(what: string): Fault {
  return { kind: 'protocol', what }
}

/** A stranger's text, made safe for a log. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 80)
}
