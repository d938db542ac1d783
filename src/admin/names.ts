import { type Digest, parseDigest } from '../oci/digest.ts'
import { isRepositoryName, parseReference } from '../oci/reference.ts'
import { AdminError, quoted } from './error.ts'

/** What to purge: everything of an upstream, or a repository. */
export type PurgeTarget = { readonly upstream: string } | { readonly repository: string }

const host = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9]\d{0,4})?$/
/** Official images of Docker Hub: clients add `library/` to their names. */
const official = /^docker\.io\/[^/]+$/

/** `docker.io`, `docker.io/library/alpine`, `docker.io/alpine`. Throws AdminError INVALID. */
export function parsePurgeTarget(text: string): PurgeTarget {
  if (!text.includes('/') && isHost(text)) return { upstream: text }
  return { repository: parseRepository(text) }
}

/** `docker.io/library/alpine:3.20`. Throws AdminError INVALID. */
export function parseImage(text: string): { repository: string; tag: string } {
  const colon = text.lastIndexOf(':')
  if (text.includes('@')) throw new AdminError('INVALID', 'to purge a digest, use DELETE /api/blobs/<digest>')
  if (colon <= text.lastIndexOf('/')) throw invalid(text, 'an image', 'docker.io/library/alpine:3.20')
  const reference = parseReference(text.slice(colon + 1))
  if (!reference || !('tag' in reference)) throw invalid(text, 'an image', 'docker.io/library/alpine:3.20')
  return { repository: parseRepository(text.slice(0, colon)), tag: reference.tag }
}

/** Throws AdminError INVALID. */
export function parseStoredDigest(text: string): Digest {
  const digest = parseDigest(text)
  if (!digest)
    throw new AdminError('INVALID', `${quoted(text)} is not a digest, such as sha256: and 64 digits of lower-case hex`)
  return digest
}

/** `docker.io/alpine:3` → `docker.io/library/alpine:3`; also for a pattern, if the `*` is only in its tag. */
export function withLibrary(text: string): string {
  return official.test(text) && !/^[^:]*\*/.test(text) ? text.replace('/', '/library/') : text
}

function parseRepository(text: string): string {
  const slash = text.indexOf('/')
  const known = slash > 0 && isHost(text.slice(0, slash)) && isRepositoryName(text.slice(slash + 1))
  if (!known) throw invalid(text, 'a repository', 'docker.io/library/alpine')
  return withLibrary(text)
}

/** The first part of a name is an upstream if it cannot be part of a repository name. */
function isHost(text: string): boolean {
  return host.test(text) && (/[.:]/.test(text) || text === 'localhost')
}

function invalid(text: string, what: string, example: string): AdminError {
  return new AdminError('INVALID', `${quoted(text)} is not ${what}; use its full name, such as ${example}`)
}
