import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../../../deploy/clients', import.meta.url))

/** The address in every file of deploy/clients, to be replaced by the reader's own. */
const placeholder = 'mirror.example:5000'

/** Copies a file, or a folder, of deploy/clients, with nothing changed but the address. Returns where it is. */
export async function clientFile(name: string, destination: string, mirrorHost: string): Promise<string> {
  const target = join(destination, name)
  await cp(join(folder, name), target, { recursive: true })
  for (const path of await filesBelow(target)) {
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replaceAll(placeholder, mirrorHost))
  }
  return target
}

async function filesBelow(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true, recursive: true }).catch(() => undefined)
  if (entries === undefined) return [path]
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
}
