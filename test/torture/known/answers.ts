import { createHash } from 'node:crypto'
import type { Digest } from '../../../src/oci/digest.ts'
import type { Behaviour } from '../../support/behaviour.ts'
import { image } from '../../support/image.ts'
import type { RequestFilter } from '../../support/request-log.ts'
import { explains, given, type KnownFault, liedTo, openedByPage } from './known-fault.ts'
import type { World } from './world.ts'

const repository = 'team/app'

/** What a proxy puts in front of a registry. */
export const page: Behaviour = {
  status: 200,
  body: '<!DOCTYPE html><html><title>Sign in</title><form action="/login"></form></html>',
  headers: { 'content-type': 'text/html; charset=utf-8' },
}

/** A tag is known; then the upstream answers in this way. What is the tag then? */
async function knownTag(world: World, behaviour: Behaviour, match: RequestFilter = {}): Promise<string> {
  const upstream = await world.upstream()
  const good = upstream.addImage(repository, 'latest', image())
  const mirror = await world.mirror(upstream)
  given((await mirror.manifest(repository, 'latest')).digest === good, 'the tag is not known')
  upstream.fault({ kind: 'manifest', ...match }, behaviour)
  const { status, digest } = await mirror.manifest(repository, 'latest')
  if (status !== 200) return `${status}`
  return digest === good ? 'the good manifest' : 'what was answered'
}

/** A tag is asked for the first time, and answered in this way; then the upstream is well again. */
async function newTag(world: World, behaviour: Behaviour): Promise<string> {
  const upstream = await world.upstream()
  const good = upstream.addImage(repository, 'latest', image())
  const mirror = await world.mirror(upstream)
  upstream.fault({ kind: 'manifest', method: 'GET' }, behaviour)
  const first = await mirror.manifest(repository, 'latest')
  upstream.clearFaults()
  const second = await mirror.manifest(repository, 'latest')
  const is = (digest: string) => (digest === good ? 'good' : 'wrong')
  return [first, second].map(({ status, digest }) => (status === 200 ? is(digest) : 'refused')).join(', then ')
}

const kept = { today: 'wrong, then wrong', right: 'refused, then good' }

/** A manifest by tag is believed as it comes. */
export const answers: readonly KnownFault[] = [
  {
    id: 'page-replaces-tag',
    fault: 'A sign-in page that is answered with 200 is stored as a manifest and replaces a good tag.',
    should: 'The page is an outage: the tag is answered with the good manifest, marked stale.',
    observe: (world) => knownTag(world, page),
    today: 'what was answered',
    right: 'the good manifest',
    tolerates: (violation, done) => liedTo('page-200')(violation, done) || openedByPage('tag')(violation, done),
  },
  {
    id: 'any-json-replaces-tag',
    fault: 'A JSON object that is no manifest is stored as one and replaces a good tag.',
    should: 'The object is a protocol fault: the tag is answered with the good manifest, marked stale.',
    observe: (world) =>
      knownTag(world, { status: 200, body: '{"hello":1}', headers: { 'content-type': 'application/json' } }),
    today: 'what was answered',
    right: 'the good manifest',
  },
  {
    id: 'empty-manifest-is-kept',
    fault: 'An empty body is stored as a manifest, and confirmed by its ETag for ever.',
    should: 'The empty body is refused and not kept; the next request gets the manifest.',
    observe: (world) => newTag(world, { truncateTo: 0 }),
    ...kept,
    tolerates: liedTo('shorter'),
  },
  {
    id: 'cut-manifest-is-kept',
    fault: 'Half a manifest, cut where only the end of the connection tells its length, is stored under its own hash.',
    should: 'The half is refused, as it is not what its digest header says; the next request gets the manifest.',
    observe: (world) => newTag(world, { closeDelimited: true, truncateTo: 100 }),
    ...kept,
    tolerates: liedTo('close-delimited'),
  },
  {
    id: 'flipped-manifest-is-kept',
    fault: 'A manifest with a flipped byte is stored under its own hash, whatever its digest header says.',
    should: 'The bytes are compared with the digest header and refused; the next request gets the manifest.',
    observe: (world) => newTag(world, { flipByteAt: 60 }),
    ...kept,
    tolerates: liedTo('flip', 'longer'),
  },
  {
    id: 'page-404-deletes-tag',
    fault: "A load balancer's 404, an HTML page, deletes a known tag.",
    should: "Only a registry's own 404 is absence: the tag is answered with the good manifest, marked stale.",
    observe: (world) => knownTag(world, { ...page, status: 404 }),
    today: '404',
    right: 'the good manifest',
    tolerates: explains('false-absence', 'the upstream said', 'page-404'),
  },
  {
    id: 'head-404-deletes-tag',
    fault: 'A registry whose HEAD is 404 though its GET works loses each tag when its time is over.',
    should: 'A 404 to a HEAD is confirmed by a GET before a tag goes.',
    observe: (world) => knownTag(world, { status: 404 }, { method: 'HEAD' }),
    today: '404',
    right: 'the good manifest',
  },
  {
    id: 'refusal-deletes-tag',
    fault: 'A 403, as for a banned address, is answered as 404, and a known tag is deleted.',
    should: 'A refusal is no absence: the known tag is answered with the good manifest, marked stale.',
    observe: (world) => knownTag(world, { status: 403 }),
    today: '404',
    right: 'the good manifest',
    tolerates: explains('false-absence', 'the upstream said', 'denied'),
  },
  {
    id: 'sha512-tag-has-two-digests',
    fault: 'A tag of a registry whose digests are sha512 has a sha256 digest first, and its own one later.',
    should: 'The digest is of the algorithm that the digest header names, the first time too.',
    observe: async (world) => {
      // Without an ETag nothing but the digest tells whether the tag has moved.
      const upstream = await world.upstream({ etag: 'none' })
      const { manifest } = image()
      const own = `sha512:${createHash('sha512').update(manifest.body).digest('hex')}` as Digest
      upstream.addManifest(repository, { ...manifest, digest: own }, 'latest')
      const mirror = await world.mirror(upstream)
      const told = async () => (await mirror.manifest(repository, 'latest')).headers['docker-content-digest']
      const digests = [await told(), await told()]
      return digests.map((digest) => (digest === own ? 'its own' : 'another')).join(', then ')
    },
    today: 'another, then its own',
    right: 'its own, then its own',
  },
  {
    id: 'stale-of-another-mirror-is-fresh',
    fault: 'What another mirror upstream answers stale, with a warning, is passed on as fresh and without it.',
    should: 'The warning is passed on, and the check does not count as one.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addImage(repository, 'latest', image())
      const mirror = await world.mirror(upstream)
      given((await mirror.manifest(repository, 'latest')).status === 200, 'the tag is not known')
      upstream.fault({ kind: 'manifest' }, { setHeaders: { warning: '299 - "stale: upstream unavailable"' } })
      const { headers } = await mirror.manifest(repository, 'latest')
      return headers['warning'] === undefined ? 'no warning' : 'a warning'
    },
    today: 'no warning',
    right: 'a warning',
  },
]
