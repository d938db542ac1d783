import { type Digest, parseDigest } from './digest.ts'
import { isRegistryHost } from './registry-host.ts'

/** What names a manifest: a tag or a digest (distribution-spec, "Pulling manifests"). */
export type Reference = { readonly tag: string } | { readonly digest: Digest }

const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
const namePattern = new RegExp(`^${component}(?:/${component})*$`)
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/

/** Clients limit host + "/" + name to 255 characters, so a longer name cannot exist. */
const maxNameLength = 255

export function isRepositoryName(text: string): boolean {
  return text.length <= maxNameLength && namePattern.test(text)
}

/** Whether it is an upstream and the name of a repository: `docker.io/library/alpine`. */
export function isFullRepositoryName(text: string): boolean {
  const slash = text.indexOf('/')
  return slash > 0 && isRegistryHost(text.slice(0, slash)) && isRepositoryName(text.slice(slash + 1))
}

export function isTag(text: string): boolean {
  return tagPattern.test(text)
}

/** Undefined if it is neither a tag nor a digest of a known algorithm. */
export function parseReference(text: string): Reference | undefined {
  if (text.includes(':')) {
    const digest = parseDigest(text)
    return digest && { digest }
  }
  return isTag(text) ? { tag: text } : undefined
}
