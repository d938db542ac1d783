import type { AuthOptions } from './access.ts'
import type { CdnOptions } from './cdn.ts'
import type { Quirk } from './fault.ts'
import type { RateLimitOptions } from './rate-limit.ts'
import type { RegistryOptions } from './registry.ts'

/** What a test upstream is told of itself; it can be told of others besides. */
export interface Preset extends RegistryOptions {
  readonly auth?: AuthOptions
  /** Blob GETs are redirected to a second origin. */
  readonly cdn?: true | CdnOptions
  readonly rateLimit?: RateLimitOptions
  /** Put before repository names where a front redirects to, with its closing slash. */
  readonly redirectPrefix?: string
  /** The registry's own name; the second origin has the other one. `127.0.0.1` unless given. */
  readonly name?: '127.0.0.1' | 'localhost'
  readonly quirks?: readonly Quirk[]
}

/**
 * Registries as they were seen to behave, each as options of a test upstream.
 *
 * Docker Hub: a token for anything, then 401 for what is private or absent; ETag is the digest; an index is converted
 * for who accepts none; blobs are at Cloudflare; manifest GETs are counted.
 */
export const dockerHub: Preset = {
  auth: { kind: 'bearer', service: 'registry.docker.io', realm: 'elsewhere', issueTokensForAnything: true },
  etag: 'digest',
  downConverts: true,
  cdn: true,
  rateLimit: { limit: 100, window: 21600 },
}

/** No token for what is private or absent; short-lived URLs on which HEAD is 403; no referrers API. */
export const ghcr: Preset = {
  auth: { kind: 'bearer', service: 'ghcr.io', hideAbsent: true },
  cdn: { head: 'refuse' },
  referrers: 'absent',
}

/** Schema 1 for who accepts no OCI type; 302 to the CDN; HEAD without a digest; referrers answer 400. */
export const quay: Preset = {
  auth: { kind: 'bearer', service: 'quay.io' },
  cdn: { status: 302 },
  etag: 'none',
  schema1: true,
  referrers: 'broken',
  quirks: [{ match: { kind: 'manifest', method: 'HEAD' }, behaviour: { omitHeaders: ['docker-content-digest'] } }],
}

/** No authorization at the front, which answers nothing itself. */
export const registryK8s: Preset = { redirectPrefix: 'k8s-artifacts-prod/images/' }

/** The regional registry behind it, with a challenge of its own. */
export const registryK8sTarget: Preset = {
  name: 'localhost',
  auth: { kind: 'bearer', service: 'pkg.dev' },
}

/** A page for a person, as a proxy puts it in front of a registry. */
export const signIn = '<!DOCTYPE html><html><title>Sign in</title><form action="/login"></form></html>'

const html = 'text/html; charset=utf-8'

/** A network that wants a person to sign in: every request is answered with 200 and that page. */
export const portal: Preset = {
  quirks: [{ match: () => true, behaviour: { status: 200, body: signIn, headers: { 'content-type': html } } }],
}

/** Sonatype Nexus, as a group of repositories: 404 to every HEAD of a manifest, though GET finds it. */
export const nexus: Preset = {
  quirks: [{ match: { kind: 'manifest', method: 'HEAD', status: [200, 304] }, behaviour: { status: 404 } }],
}

/**
 * Amazon ECR, private: a login and nothing else; a GET of a manifest does not say its digest, though a HEAD does
 * (mthalman/Docker.Registry.DotNet#34); blobs are at S3. `token` stands for the password that its API gives.
 */
export const ecr: Preset = {
  auth: { kind: 'basic', users: { AWS: 'token' } },
  cdn: true,
  quirks: [{ match: { kind: 'manifest', method: 'GET' }, behaviour: { omitHeaders: ['docker-content-digest'] } }],
}

/** Amazon ECR, public: one scope for everything; 401 to a HEAD of a blob, though GET works (containers-roadmap#2671). */
export const publicEcr: Preset = {
  auth: { kind: 'bearer', service: 'public.ecr.aws', scopeFromChallenge: 'aws' },
  quirks: [{ match: { kind: 'blob', method: 'HEAD' }, behaviour: { status: 401 } }],
}

/** GitLab: the token service is another host, and refuses what is private or absent. */
export const gitlab: Preset = {
  auth: { kind: 'bearer', service: 'container_registry', realm: 'elsewhere', hideAbsent: true },
}

/**
 * Harbor, as a proxy of another registry: manifests are compressed for a GET, so that its length is not that of the HEAD
 * (oras-go#1176); 404 to a HEAD of a blob that it has not cached yet (harbor#22609).
 */
export const harbor: Preset = {
  auth: { kind: 'bearer', service: 'harbor-registry' },
  quirks: [
    { match: { kind: 'manifest', method: 'GET', status: 200 }, behaviour: { contentEncoding: 'gzip-always' } },
    { match: { kind: 'blob', method: 'HEAD' }, behaviour: { status: 404 } },
  ],
}

/** JFrog Artifactory: an ETag that is not the digest. */
export const artifactory: Preset = { auth: { kind: 'bearer', multipleChallenges: true }, etag: 'opaque' }

/** The reference implementation, 2 and 3, without authorization. */
export const distribution: Preset = { etag: 'digest' }

/** A registry behind nginx that asks for a token itself, and replaces errors with pages of its own. */
export const nginx: Preset = {
  auth: { kind: 'bearer' },
  quirks: [401, 404].map((status) => ({
    match: { status },
    behaviour: { body: `<html><center><h1>${status}</h1></center></html>`, setHeaders: { 'content-type': html } },
  })),
}

/** Options on top of a preset: the fields of `auth` are replaced one by one, quirks are added. */
export function combine<T extends Preset>(preset: T, options: T): T {
  const same = options.auth && preset.auth?.kind === options.auth.kind
  return {
    ...preset,
    ...options,
    ...(same && { auth: { ...preset.auth, ...options.auth } as AuthOptions }),
    quirks: [...(preset.quirks ?? []), ...(options.quirks ?? [])],
  }
}
