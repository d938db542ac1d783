/** Docker Hub's name, as users write it. Its registry has another host name. */
export const dockerHub = 'docker.io'

const dockerHubAliases = new Set(['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])

/**
 * The canonical name of a registry: lower-case, and `docker.io` for every name of Docker Hub. The text is not checked.
 * Only ASCII letters are lower-cased: others that become ASCII (the Kelvin sign) are not part of a host name.
 */
export function canonicalHost(text: string): string {
  const host = text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
  return dockerHubAliases.has(host) ? dockerHub : host
}
