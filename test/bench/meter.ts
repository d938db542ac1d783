import type { Process } from './servers/process.ts'
import { cpuSeconds, machineBusySeconds, memoryOf, resetPeak, treeOf } from './usage.ts'

/** What a load was, as its client tells. */
export interface Load {
  readonly seconds: number
  /** Body bytes received. */
  readonly bytes: number
  /** CPU seconds of the client's processes. */
  readonly cpu: number
}

export interface Measured<L extends Load> {
  readonly load: L
  /** CPU seconds of the server. */
  readonly cpu: number
  /** Bytes: the server's highest resident size meanwhile. */
  readonly peak: number
  /** How many CPUs were busy with something else: above some 0.1 the figures are not to be trusted. */
  readonly others: number
}

export interface Party {
  readonly server: Process
  /** Processes that are part of it, and neither server nor client: the upstream. */
  readonly beside?: readonly Process[]
}

/** Runs a load against one server and takes the server's CPU time and memory meanwhile. */
export async function measure<L extends Load>(
  { server, beside = [] }: Party,
  run: () => Promise<L>,
): Promise<Measured<L>> {
  const pids = await treeOf(server.pid)
  const around = [process.pid, ...(await Promise.all(beside.map(({ pid }) => treeOf(pid)))).flat()]
  await resetPeak(pids)
  const [before, aroundBefore, busyBefore] = await clocks(pids, around)
  const startedAt = performance.now()
  const load = await run()
  const [after, aroundAfter, busyAfter] = await clocks(pids, around)
  const seconds = (performance.now() - startedAt) / 1000
  const { peak } = await memoryOf(pids)
  const cpu = after - before
  const known = cpu + load.cpu + aroundAfter - aroundBefore
  return { load, cpu, peak, others: Math.max(0, busyAfter - busyBefore - known) / seconds }
}

function clocks(pids: readonly number[], around: readonly number[]): Promise<[number, number, number]> {
  return Promise.all([cpuSeconds(pids), cpuSeconds(around), machineBusySeconds()])
}
