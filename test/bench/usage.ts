import { readdir, readFile, writeFile } from 'node:fs/promises'

/** USER_HZ, which Linux has fixed for what it tells programs. */
const ticksPerSecond = 100
const kibibyte = 1024

/** A process and all below it: nginx works in its children. */
export async function treeOf(pid: number): Promise<number[]> {
  const parents = new Map<number, number>()
  for (const entry of await readdir('/proc')) {
    const parent = /^\d+$/.test(entry) ? (await statOf(Number(entry)))?.parent : undefined
    if (parent !== undefined) parents.set(Number(entry), parent)
  }
  const tree = [pid]
  for (const above of tree) for (const [child, parent] of parents) if (parent === above) tree.push(child)
  return tree
}

/** Seconds of CPU that the processes have used, all their threads included. */
export async function cpuSeconds(pids: readonly number[]): Promise<number> {
  const stats = await Promise.all(pids.map(statOf))
  return stats.reduce((total, stat) => total + (stat?.ticks ?? 0), 0) / ticksPerSecond
}

/** Bytes. `peak` is the highest resident size since `resetPeak`, or since the start where the kernel resets none. */
export async function memoryOf(pids: readonly number[]): Promise<{ peak: number; now: number }> {
  const texts = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')))
  const sumOf = (key: string) =>
    texts.reduce((total, text) => total + Number(new RegExp(`^${key}:\\s*(\\d+) kB`, 'm').exec(text)?.[1] ?? 0), 0)
  return { peak: sumOf('VmHWM') * kibibyte, now: sumOf('VmRSS') * kibibyte }
}

export async function resetPeak(pids: readonly number[]): Promise<void> {
  await Promise.all(pids.map((pid) => writeFile(`/proc/${pid}/clear_refs`, '5').catch(() => undefined)))
}

/** Seconds that all CPUs together were not idle, since the machine's start. */
export async function machineBusySeconds(): Promise<number> {
  const [first = ''] = (await readFile('/proc/stat', 'utf8')).split('\n')
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = first.split(/\s+/).slice(1).map(Number)
  return (user + nice + system + irq + softirq) / ticksPerSecond
}

/** Fields 4, 14 and 15 of proc(5) `stat`; the second is a name that may hold anything, in parentheses. */
async function statOf(pid: number): Promise<{ parent: number; ticks: number } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) }
}
