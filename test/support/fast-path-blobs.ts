import assert from 'node:assert/strict'
import { join } from 'node:path'
import type { Digest } from '../../src/oci/digest.ts'
import { pathOf } from '../../src/storage/layout.ts'
import { call } from './admin-client.ts'
import { agent, fastDate, teach } from './fast-path.ts'
import { image } from './image.ts'
import { openFiles } from './open-files.ts'
import { Stage, type StageOptions } from './stage.ts'
import { until } from './wait.ts'
import { Wire, type WireAnswer } from './wire.ts'

export const repository = 'library/alpine'
/** As `latest`. */
export const added = image()

export type Line = Readonly<Record<string, unknown>>

export interface Stored {
  readonly digest: Digest
  readonly body: Buffer
  /** As it is asked for. */
  readonly path: string
  /** Where it is on the disk. */
  readonly file: string
}

export async function start(options: StageOptions = {}): Promise<Stage> {
  const stage = await Stage.start(options)
  stage.upstream.addImage(repository, 'latest', added)
  return stage
}

/** A blob that the mirror has. */
export async function store(stage: Stage, body: Buffer, prefix = ''): Promise<Stored> {
  const digest = stage.upstream.addBlob(repository, body)
  const path = `${prefix}/v2/${repository}/blobs/${digest}`
  await stage.get(path, { keep: 0 })
  const fills = `${stage.mirror.adminUrl}/api/fills`
  await until(async () => (await call<unknown[]>(fills)).json.length === 0, 'the fill to end')
  return { digest, body, path, file: pathOf(stage.path, { kind: 'blob', digest }) }
}

/** One whose head the fast path knows. */
export async function storeKnown(stage: Stage, body: Buffer): Promise<Stored> {
  const stored = await store(stage, body)
  assert.equal(await teach(stage, `GET ${stored.path}`), false)
  return stored
}

/** One answer over a connection of its own. */
export async function ask(
  stage: Stage,
  line: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<WireAnswer> {
  using wire = await Wire.open(stage.mirror.url)
  wire.request(line, { ...agent, ...headers })
  return (await wire.answer(line.split(' ')[0])) ?? assert.fail('no answer')
}

export function isFast(answer: WireAnswer | undefined): boolean {
  return answer?.headers['date'] === fastDate
}

/** Without what must differ. */
export function same({ head }: WireAnswer): string {
  return head.replace(/^Date: .*$/m, 'Date').replace(/^X-Request-Id: .*$/m, 'X-Request-Id')
}

export function filesOf({ path }: Stage): Promise<number> {
  return openFiles(join(path, 'blobs'))
}

export async function allClosed(stage: Stage): Promise<void> {
  await until(async () => (await filesOf(stage)) === 0, 'the files to be closed')
}

export async function lineOf({ mirror }: Stage, { headers }: WireAnswer): Promise<Line> {
  const id = headers['x-request-id']
  return await until(() => mirror.log.find(({ requestId }) => requestId === id), 'the line')
}
