import { type Counters, parts } from './counters.ts'
import type { MetricFamilies } from './metric-family.ts'
import type { MetricSources, StorageUsage } from './metric-sources.ts'

/** Metrics of the store and its upkeep. Returns a function that updates them, to be called before each scrape. */
export function storeMetrics(
  families: MetricFamilies,
  counters: Counters,
  sources: MetricSources,
): () => Promise<void> {
  let usage: StorageUsage | undefined
  let disk: { readonly total: number; readonly free: number } | undefined
  families.gauges([], {
    entrepot_storage_bytes: ['Stored bytes.', () => usage?.bytes],
    entrepot_storage_blobs: ['Stored blobs and manifests.', () => usage?.blobs],
    entrepot_storage_max_bytes: ['The bound on the stored bytes; 0 if there is none.', () => usage?.maxBytes],
    entrepot_disk_total_bytes: ['Size of the disk of the store.', () => disk?.total],
    entrepot_disk_free_bytes: ['Free space on the disk of the store.', () => disk?.free],
    entrepot_scrub_running: ['1 while a scrub runs, else 0.', () => (sources.scrub().state === 'running' ? 1 : 0)],
    entrepot_scrub_checked_blobs: ['Blobs that the running or last scrub has read.', () => sources.scrub().checked],
    entrepot_scrub_damaged_blobs: ['Those of them that were damaged or missing.', () => sources.scrub().damaged],
    entrepot_scrub_repaired_blobs: ['Damaged blobs that were fetched again.', () => sources.scrub().repaired],
    entrepot_scrub_finished_timestamp_seconds: [
      'When the last scrub ended; absent before.',
      () => seconds(sources.scrub().finishedAt),
    ],
  })
  families.counters([], {
    entrepot_evicted_blobs_total: [
      'Blobs evicted to make room, or because they were idle.',
      () => counters.evictedBlobs,
    ],
    entrepot_evicted_bytes_total: ['Bytes of evicted blobs.', () => counters.evictedBytes],
    entrepot_damaged_blobs_total: ['Stored blobs that were found damaged or missing.', () => counters.damagedBlobs],
    entrepot_probe_pulls_total: ['Pulls of the probe image, by clients that use the mirror.', () => counters.probes],
  })
  families.counters(['store'], {
    entrepot_store_failures_total: [
      'Failures of a store, which the cache survived.',
      () => Object.entries(counters.storeFailures).map(([store, value]) => ({ labels: { store }, value })),
    ],
  })
  families.gauges(['part'], {
    entrepot_failing: [
      '1 while a part fails, else 0. Without storage, misses pass through and are not kept.',
      () => parts.map((part) => ({ labels: { part }, value: counters.failing.has(part) ? 1 : 0 })),
    ],
  })
  return async () => {
    ;[usage, disk] = await Promise.all([sources.usage(), sources.disk()])
  }
}

function seconds(milliseconds: number | null): number | null {
  return milliseconds === null ? null : milliseconds / 1000
}
