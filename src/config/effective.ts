import { stringify } from 'yaml'
import { formatAddress } from './address.ts'
import type { Config, UpstreamConfig } from './config.ts'
import { formatDuration, formatSize } from './units.ts'

/** The whole configuration as YAML, with `***` for every secret. */
export function redactedConfig(config: Config): string {
  const { listen, basePath, admin, storage, metadata, defaultUpstream, upstreams, timeouts, limits, log } = config
  const effective = {
    listen: formatAddress(listen),
    basePath,
    admin: { listen: formatAddress(admin.listen), token: admin.token?.toString(), hosts: admin.hosts },
    storage: storageEntry(storage),
    metadata: metadataEntry(metadata),
    defaultUpstream,
    upstreams: Object.fromEntries(upstreams.map((upstream) => [upstream.name, upstreamEntry(upstream)])),
    timeouts: Object.fromEntries(Object.entries(timeouts).map(([key, value]) => [key, formatDuration(value)])),
    limits: { ...limits, manifestSize: formatSize(limits.manifestSize) },
    log,
  }
  return stringify(effective, { keepUndefined: false, aliasDuplicateObjects: false, lineWidth: 0 })
}

function storageEntry({ kind, path, maxSize, maxIdle, scrubRate }: Config['storage']) {
  return {
    kind,
    path,
    maxSize: maxSize === undefined ? undefined : formatSize(maxSize),
    maxIdle: maxIdle === undefined ? undefined : formatDuration(maxIdle),
    scrubRate: formatSize(scrubRate),
  }
}

function metadataEntry(metadata: Config['metadata']) {
  if (metadata.kind === 'sqlite') return metadata
  return { ...metadata, url: metadata.url.toString(), commandTimeout: formatDuration(metadata.commandTimeout) }
}

function upstreamEntry({ url, login, tokenRealm, privateRepositories, tagTtl, staleFor }: UpstreamConfig) {
  const passwordFile = login?.passwordFile
  return {
    url,
    username: login?.username,
    password: passwordFile === undefined ? login?.password.toString() : undefined,
    passwordFile,
    tokenRealm,
    privateRepositories,
    tagTtl: formatDuration(tagTtl),
    staleFor: formatDuration(staleFor),
  }
}
