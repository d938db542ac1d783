import assert from 'node:assert/strict'
import { type Digest, hexOf } from '../../../src/oci/digest.ts'
import type { Behaviour } from '../../support/behaviour.ts'
import type { Received } from '../../support/client.ts'
import type { Fetches } from '../../support/fetches.ts'
import { Gate } from '../../support/gate.ts'
import { until } from '../../support/wait.ts'
import type { House } from './house.ts'

const get = { kind: 'blob', method: 'GET' } as const

export async function receivedBytes({ mirror }: House): Promise<number> {
  return (await mirror.stats()).bytes.fromUpstream
}

/** Resolves when a thread fetches, and so many bytes have come. */
export async function fetching(fetches: Fetches, house: House, digest: Digest, at: number): Promise<void> {
  await until(() => fetches.running === 1, 'a thread to fetch')
  await until(async () => (await house.fills(digest))[0]?.written === at, `the first ${at} bytes`)
}

export function isRight({ status, complete, digest }: Received, expected: Digest): void {
  assert.deepEqual([status, complete, digest], [200, true, expected])
}

export function isCut({ status, complete, closedBy, bytes }: Received, whole: number): void {
  assert.deepEqual([status, complete, closedBy], [200, false, 'fin'])
  assert.ok(bytes < whole)
}

export async function isStored(house: House, digest: Digest): Promise<boolean> {
  return (await house.stored()).includes(hexOf(digest))
}

/** So many clients at once, whose fill begins when all of them are there. */
export async function pullTogether(
  house: House,
  digest: Digest,
  clients: number,
  fault: Behaviour = {},
): Promise<Received[]> {
  const gate = new Gate()
  house.upstream.fault({ ...get, reference: digest }, { ...fault, gate, times: 1 })
  const pulls = Array.from({ length: clients }, () => house.get(digest))
  await house.followed(clients, digest)
  gate.open()
  return await Promise.all(pulls)
}
