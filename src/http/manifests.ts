import type { Context } from 'koa'
import type { Mirror, ServedManifest, Target } from '../cache/mirror.ts'
import { probeName } from '../cache/probe.ts'
import { RegistryError } from '../oci/error.ts'
import { parseReference } from '../oci/reference.ts'
import { cacheStatus, noneMatch } from './cache-status.ts'
import type { Exchange } from './exchange.ts'

export const immutable = 'max-age=31536000, immutable'

export interface ManifestsOptions {
  readonly mirror: Mirror
  readonly now: () => number
}

/** `GET|HEAD /v2/<name>/manifests/<reference>`. */
export async function serveManifest(
  context: Context,
  exchange: Exchange,
  { target, reference: text }: { target: Target; reference: string },
  { mirror, now }: ManifestsOptions,
): Promise<void> {
  const reference = parseReference(text)
  if (!reference) throw new RegistryError('MANIFEST_UNKNOWN', { detail: 'neither a tag nor a digest' })
  const served = mirror.recentManifest(target, reference) ?? (await mirror.manifest(target, reference))
  exchange.outcome = served.outcome
  if (target.name === probeName && 'tag' in reference) mirror.probed(target, exchange.client)
  const { manifest } = served
  const etag = `"${manifest.digest}"`
  context.set(manifestHeaders(served, now()))
  if (noneMatch(exchange.header('if-none-match'), etag)) {
    context.status = 304
    return
  }
  // With its length, and to a HEAD without its bytes.
  context.body = manifest.body
}

/** `now` in epoch milliseconds. */
export function manifestHeaders(served: ServedManifest, now: number): Record<string, string> {
  const { digest, mediaType } = served.manifest
  return {
    'Content-Type': mediaType,
    'Docker-Content-Digest': digest,
    ETag: `"${digest}"`,
    ...freshnessHeaders(served, now),
  }
}

function freshnessHeaders({ outcome, tag }: ServedManifest, now: number): Record<string, string> {
  if (!tag)
    return { 'Cache-Control': immutable, 'Cache-Status': cacheStatus(outcome, { passed: false, ttl: undefined }) }
  const age = Math.max(0, Math.floor((now - tag.checkedAt) / 1000))
  const ttl = Math.floor((tag.checkedAt + tag.ttl - now) / 1000)
  const headers: Record<string, string> = {
    Age: String(age),
    'Cache-Control': 'no-cache',
    'Cache-Status': cacheStatus(outcome, { passed: false, ttl }),
  }
  if (outcome === 'stale') {
    const since = new Date(tag.checkedAt).toISOString()
    headers['Warning'] = `299 - "stale: upstream unavailable since ${since}"`
  }
  return headers
}
