import { canonicalHost, dockerHub, isRegistryHost } from '../oci/registry-host.ts'

/**
 * The canonical name of an upstream: lower-case, and `docker.io` for every name of Docker Hub. Undefined if it is not
 * `host` or `host:port`, or could be the first part of a repository name (no dot, no colon, not `localhost`).
 */
export function canonicalUpstreamName(text: string): string | undefined {
  const name = text.toLowerCase()
  if (!isRegistryHost(name) || !URL.canParse(`https://${name}`)) return undefined
  return canonicalHost(name)
}

/** The URL of an upstream without `url`. Docker Hub's registry has another host than the name users write. */
export function defaultUpstreamUrl(name: string): string {
  return name === dockerHub ? 'https://registry-1.docker.io' : `https://${name}`
}
