import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { run } from './run.ts'

/**
 * A folder for one program and whatever it mounts there: at the end the processes that were started for it have ended,
 * what was mounted is unmounted, and the folder is removed.
 * Its path is short, because sockets are made in it, and theirs may have 107 characters.
 */
export class Workspace implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async create(): Promise<Workspace> {
    return new Workspace(await mkdtemp(join(tmpdir(), 'entrepot-e2e-')))
  }

  in(...names: string[]): string {
    return join(this.path, ...names)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await lastProcesses(this.path)
    for (const target of await mountsBelow(this.path)) await run('umount', ['--lazy', target], { home: '/' })
    await rm(this.path, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** The innermost first. */
async function mountsBelow(folder: string): Promise<string[]> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).trim().split('\n')
  const targets = lines.map((line) => (line.split(' ')[4] ?? '').replaceAll('\\040', ' '))
  return targets.filter((target) => `${target}/`.startsWith(`${folder}/`)).reverse()
}

/**
 * Programs start helpers that outlive them a little (a container's monitor). The folder's path, which is like no other,
 * is on their command line. Those that take longer than about ten seconds are killed.
 */
async function lastProcesses(folder: string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if ((await processesOf(folder)).length === 0) return
    await sleep(50)
  }
  for (const id of await processesOf(folder)) process.kill(id, 'SIGKILL')
}

async function processesOf(folder: string): Promise<number[]> {
  const ids = (await readdir('/proc')).map(Number).filter((id) => id > 0 && id !== process.pid)
  const found: number[] = []
  for (const id of ids) {
    const command = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')
    if (command.includes(folder)) found.push(id)
  }
  return found
}
