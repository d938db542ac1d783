import type { Received } from '../support/client.ts'

export const hit = 'entrepot; hit'
export const bypass = 'entrepot; fwd=bypass'
export const miss = 'entrepot; fwd=uri-miss; stored'
export const collapsed = 'entrepot; fwd=uri-miss; collapsed'
export const revalidated = 'entrepot; fwd=stale; fwd-status=304'

/** What an answer's `Cache-Status` says. */
export function outcomeOf({ headers }: Received): string {
  return String(headers['cache-status'])
}

export interface ErrorOf {
  readonly status: number
  readonly code: string | undefined
}

/** What an error's envelope says. */
export function errorOf(answer: Received): ErrorOf {
  const { errors } = answer.json<{ errors: { code: string }[] }>()
  return { status: answer.status, code: errors[0]?.code }
}
