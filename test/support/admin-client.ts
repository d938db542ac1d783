import { get } from './client.ts'

/** An answer of the admin listener. */
export interface AdminAnswer<Json> {
  readonly status: number
  readonly json: Json
}

/** Asks as a program would: writes say that they are JSON. */
export async function call<Json = Record<string, unknown>>(
  url: string,
  method: 'GET' | 'POST' | 'DELETE' = 'GET',
  { body, token }: { readonly body?: unknown; readonly token?: string } = {},
): Promise<AdminAnswer<Json>> {
  const { status, json } = await get(url, {
    method,
    headers: {
      ...(method !== 'GET' && { 'content-type': 'application/json' }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  return { status, json: json<Json>() }
}
