import { type Digest, parseDigest } from './digest.ts'
import { isObject, parseObject } from './manifest.ts'

/** A manifest that an index names for a platform. */
export interface PlatformManifest {
  /** `linux/arm/v7`. */
  readonly platform: string
  readonly digest: Digest
}

/** BuildKit lists attestations, which cannot run, under this platform. */
const attestationPlatform = 'unknown/unknown'

/** The manifests of an index that have a platform (image-spec, image-index.md), in its order. */
export function platformsOf(index: Buffer): PlatformManifest[] {
  const manifests = parseObject(index)?.['manifests']
  if (!Array.isArray(manifests)) return []
  return manifests.flatMap((item) => {
    if (!isObject(item) || !isObject(item['platform'])) return []
    const platform = nameOf(item['platform'])
    const digest = parseDigest(String(item['digest']))
    return platform !== undefined && platform !== attestationPlatform && digest ? [{ platform, digest }] : []
  })
}

/** The digest of an image manifest's config. */
export function configOf(manifest: Buffer): Digest | undefined {
  const config = parseObject(manifest)?.['config']
  return isObject(config) ? parseDigest(String(config['digest'])) : undefined
}

/** The platform in an image config (image-spec, config.md); undefined if it has none. */
export function platformOf(config: Buffer): string | undefined {
  return nameOf(parseObject(config) ?? {})
}

function nameOf({ os, architecture, variant }: Record<string, unknown>): string | undefined {
  const parts = [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])]
  return parts.every((part) => typeof part === 'string' && /^[\w.+-]{1,64}$/.test(part)) ? parts.join('/') : undefined
}
