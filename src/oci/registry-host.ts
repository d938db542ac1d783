/** Docker Hub's name, as users write it; its registry is at another. */
export const dockerHub = 'docker.io'

const dockerHubAliases = new Set(['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])

/**
 * The one name of a registry: lower-case, and `docker.io` for every name of Docker Hub. Of any text, which is not
 * checked. Only ASCII has two cases here: other letters that become ASCII in lower case (the Kelvin sign) are no host's.
 */
export function canonicalHost(text: string): string {
  const host = text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
  return dockerHubAliases.has(host) ? dockerHub : host
}
