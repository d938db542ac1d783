import { readdir, readlink } from 'node:fs/promises'

/** What this process has open: paths, and `socket:[1234]` and the like. */
export async function descriptors(): Promise<string[]> {
  const names = await readdir('/proc/self/fd')
  return Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')))
}

/** How many descriptors this process has open below a folder. */
export async function openFiles(path: string): Promise<number> {
  return (await descriptors()).filter((link) => link.startsWith(path)).length
}

/** How many descriptors of sockets this process has open, each one as often as it was duplicated. */
export async function openSockets(): Promise<number> {
  return (await descriptors()).filter((link) => link.startsWith('socket:')).length
}

/** How many descriptors to wait with, and to be woken by, are open in this process. */
export async function openEvents(): Promise<number> {
  return (await descriptors()).filter((link) => /^anon_inode:\[event(poll|fd)\]/.test(link)).length
}
