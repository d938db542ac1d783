import type { Outcome } from '../cache/observer.ts'

/** An answer in the words of RFC 9211. */
export function cacheStatus(outcome: Outcome, { passed, ttl }: { passed: boolean; ttl: number | undefined }): string {
  if (passed) return 'entrepot; fwd=bypass'
  switch (outcome) {
    case 'hit':
      return 'entrepot; hit'
    case 'miss':
      return 'entrepot; fwd=uri-miss; stored'
    case 'collapsed':
      return 'entrepot; fwd=uri-miss; collapsed'
    case 'revalidated':
      return 'entrepot; fwd=stale; fwd-status=304'
    case 'stale':
      return `entrepot; hit; ttl=${ttl ?? 0}; detail=stale`
  }
}

/** Whether an `If-None-Match` names this entity tag: weak comparison (RFC 9110 §13.1.2). */
export function noneMatch(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  if (header.trim() === '*') return true
  return header.split(',').some((one) => one.trim().replace(/^W\//, '') === etag)
}
