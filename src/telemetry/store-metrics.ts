import type { Registry } from 'prom-client'
import { type Counters, parts } from './counters.ts'
import { counter, gauge, type Sample } from './metric-family.ts'
import type { MetricSources, StorageUsage } from './metric-sources.ts'

/** Metrics of the store and its upkeep. Returns a function that updates them, to be called before each scrape. */
export function storeMetrics(registry: Registry, counters: Counters, sources: MetricSources): () => Promise<void> {
  let usage: StorageUsage | undefined
  let disk: { readonly total: number; readonly free: number } | undefined
  const value = (read: () => number | null | undefined) => (): Sample[] => {
    const known = read()
    return typeof known === 'number' ? [{ value: known }] : []
  }
  const gauges = {
    entrepot_storage_bytes: ['Stored bytes.', () => usage?.bytes],
    entrepot_storage_blobs: ['Stored blobs and manifests.', () => usage?.blobs],
    entrepot_storage_max_bytes: ['What the stored bytes are kept below; 0 for no bound.', () => usage?.maxBytes],
    entrepot_disk_total_bytes: ['The disk that the store lies on.', () => disk?.total],
    entrepot_disk_free_bytes: ['What is free of it.', () => disk?.free],
    entrepot_scrub_running: ['1 while a scrub runs, else 0.', () => (sources.scrub().state === 'running' ? 1 : 0)],
    entrepot_scrub_checked_blobs: ['Blobs that the scrub, or the last one, has read.', () => sources.scrub().checked],
    entrepot_scrub_damaged_blobs: ['Of them, those that were damaged or missing.', () => sources.scrub().damaged],
    entrepot_scrub_repaired_blobs: ['Of those, the ones fetched again.', () => sources.scrub().repaired],
    entrepot_scrub_finished_timestamp_seconds: [
      'When the last scrub ended; absent before.',
      () => seconds(sources.scrub().finishedAt),
    ],
  } as const satisfies Record<string, readonly [string, () => number | null | undefined]>
  for (const [name, [help, read]] of Object.entries(gauges)) gauge({ registry, name, help }, value(read))
  const counts = {
    entrepot_evicted_blobs_total: ['Blobs that made room, or that nobody wanted.', () => counters.evictedBlobs],
    entrepot_evicted_bytes_total: ['Their bytes.', () => counters.evictedBytes],
    entrepot_damaged_blobs_total: ['Stored blobs that turned out damaged or missing.', () => counters.damagedBlobs],
    entrepot_probe_pulls_total: ['Pulls of the probe image: by clients that use the mirror.', () => counters.probes],
  } as const satisfies Record<string, readonly [string, () => number]>
  for (const [name, [help, read]] of Object.entries(counts)) counter({ registry, name, help }, value(read))
  counter(
    {
      registry,
      name: 'entrepot_store_failures_total',
      help: 'Failures of a store that the cache went on without.',
      labels: ['store'],
    },
    () => Object.entries(counters.storeFailures).map(([store, value]) => ({ labels: { store }, value })),
  )
  gauge(
    {
      registry,
      name: 'entrepot_failing',
      help: '1 while a part fails: storage, so that misses pass through and are not kept; redis; else 0.',
      labels: ['part'],
    },
    () => parts.map((part) => ({ labels: { part }, value: counters.failing.has(part) ? 1 : 0 })),
  )
  return async () => {
    ;[usage, disk] = await Promise.all([sources.usage(), sources.disk()])
  }
}

function seconds(milliseconds: number | null): number | null {
  return milliseconds === null ? null : milliseconds / 1000
}
