import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { start } from '../../support/program.ts'

/** A mirror in a process of its own, as `entrepot serve` runs it. */
export interface MirrorProcess extends AsyncDisposable {
  readonly url: string
  readonly adminUrl: string
  /** Ends it without any warning. */
  kill(): Promise<void>
  /** Bytes of memory that it holds. */
  resident(): Promise<number>
  /** What it has open below its data folder, but for the files that it always has. */
  openFiles(): Promise<string[]>
  /** How many connections, pipes and files it has open. */
  descriptors(): Promise<number>
}

/** Writes a configuration for one upstream beside the data folder. */
export async function configure(folder: string, upstream: string): Promise<string> {
  const path = join(folder, 'entrepot.yaml')
  await writeFile(
    path,
    `listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
storage: { path: ${join(folder, 'data')} }
defaultUpstream: registry.test
upstreams: { registry.test: { url: ${upstream} } }
log: { level: info }
`,
  )
  return path
}

/** `folder` holds the configuration and the data. */
export async function startProcess(folder: string, config: string): Promise<MirrorProcess> {
  const program = start(['serve', '--config', config])
  try {
    const line = await program.printed(/^.*"msg":"listening".*$/m)
    const { listen, admin } = JSON.parse(line) as { listen: string; admin: string }
    const proc = `/proc/${program.child.pid}`
    const links = async (): Promise<string[]> => {
      const names = await readdir(`${proc}/fd`)
      return Promise.all(names.map((name) => readlink(`${proc}/fd/${name}`).catch(() => '')))
    }
    return {
      url: `http://${listen}`,
      adminUrl: `http://${admin}`,
      async kill() {
        program.child.kill('SIGKILL')
        await program.ended
      },
      async resident() {
        const status = await readFile(`${proc}/status`, 'utf8')
        return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
      },
      async openFiles() {
        const content = [join(folder, 'data', 'ingest'), join(folder, 'data', 'blobs')]
        return (await links()).filter((link) => content.some((path) => link.startsWith(path)))
      },
      async descriptors() {
        return (await links()).length
      },
      [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
    }
  } catch (error) {
    await program[Symbol.asyncDispose]()
    throw error
  }
}
