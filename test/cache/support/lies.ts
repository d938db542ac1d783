import assert from 'node:assert/strict'
import type { Behaviour } from '../../support/behaviour.ts'
import { image, type TestBlob, type TestImage } from '../../support/image.ts'
import { signIn } from '../../support/presets.ts'
import type { TestUpstream } from '../../support/upstream.ts'

const html = { 'content-type': 'text/html' }
export const repository = 'team/app'
/** What the mirror has before an upstream lies. Its tag is `known`. */
export const known: TestImage = image()
/** What the mirror has not. Its tag is `new`. */
export const unknown: TestImage = image({ config: { unknown: true } })
export const layer: TestBlob = known.layers[0] ?? assert.fail()

/** How an upstream answers, and what a client gets for what is not cached: of manifests, and of blobs. */
export interface Lie {
  readonly name: string
  readonly behaviour: Behaviour
  readonly manifest: number
  /** To a HEAD of a tag, where that is another answer: a lie about the body alone is none there. */
  readonly head?: number
  /** Undefined where it is no lie about a blob. */
  readonly blob?: number
  /** Of a range after it, where that is another answer. */
  readonly range?: number
  /** What the log has to say of it. */
  readonly says: RegExp
}

export const lies: readonly Lie[] = [
  {
    name: 'a sign-in page',
    behaviour: { status: 200, body: signIn, headers: html },
    manifest: 503,
    blob: 502,
    says: /a page/,
  },
  { name: 'an empty body', behaviour: { truncateTo: 0 }, manifest: 502, blob: 502, range: 503, says: /an empty body/ },
  {
    name: 'half of it, closed early',
    behaviour: { closeDelimited: true, truncateTo: 100 },
    manifest: 502,
    says: /no JSON/,
  },
  {
    name: 'a flipped byte',
    behaviour: { flipByteAt: 60 },
    manifest: 502,
    head: 200,
    says: /bytes that are not sha256/,
  },
  {
    name: 'JSON of something else',
    behaviour: { status: 200, body: '{"hello":1}', headers: { 'content-type': 'application/json' } },
    manifest: 502,
    says: /no manifest|bytes that are not/,
  },
  {
    name: 'the digest of something else in its header',
    behaviour: { setHeaders: { 'docker-content-digest': unknown.config.digest } },
    manifest: 502,
    head: 200,
    says: /as its header says/,
  },
  {
    name: '404 with a page',
    behaviour: { status: 404, body: '<html>', headers: html },
    manifest: 503,
    blob: 503,
    says: /404 with a page/,
  },
  {
    name: '404 with text',
    behaviour: { status: 404, body: 'no healthy upstream', headers: { 'content-type': 'text/plain' } },
    manifest: 503,
    blob: 503,
    says: /404 with a page/,
  },
  {
    name: '403 with a page',
    behaviour: { status: 403, body: '<html>', headers: html },
    manifest: 503,
    blob: 503,
    says: /403 and a page/,
  },
  { name: '403 of a registry', behaviour: { status: 403 }, manifest: 404, blob: 404, says: /refused now/ },
  { name: '401 without a challenge', behaviour: { status: 401 }, manifest: 503, blob: 503, says: /demands a login/ },
  {
    name: '304, though nobody asked',
    behaviour: { status: 304, body: '' },
    manifest: 502,
    blob: 502,
    says: /answered 304/,
  },
  {
    name: 'a head that HTTP does not allow',
    behaviour: { instead: 'malformed' },
    manifest: 502,
    blob: 502,
    says: /HTTP does not allow/,
  },
  {
    name: 'a content coding that cannot be undone',
    behaviour: { setHeaders: { 'content-encoding': 'br' } },
    manifest: 502,
    blob: 502,
    says: /coding/,
  },
]

/** Both images are there. */
export function stock(upstream: TestUpstream): void {
  upstream.addImage(repository, 'known', known)
  upstream.addImage(repository, 'new', unknown)
}
