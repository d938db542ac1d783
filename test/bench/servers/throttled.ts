import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Digest, hexOf } from '../../../src/oci/digest.ts'
import type { Content } from '../content.ts'
import type { Asked } from './nginx.ts'
import { freePort, Process } from './process.ts'
import { registryBlobUrl } from './server.ts'

const program = fileURLToPath(new URL('throttled-program.ts', import.meta.url))

export interface ThrottledSettings {
  readonly dir: string
  readonly content: Content
  /** Of all connections together. */
  readonly bytesPerSecond: number
}

/** The same content behind a thin line. */
export class Throttled implements AsyncDisposable {
  readonly process: Process
  readonly url: string

  private constructor(process: Process, url: string) {
    this.process = process
    this.url = url
  }

  static async start({ dir, content, bytesPerSecond }: ThrottledSettings): Promise<Throttled> {
    await mkdir(dir, { recursive: true })
    const port = await freePort()
    const args = [program, content.root, String(port), String(bytesPerSecond)]
    const command = { name: 'throttled upstream', program: process.execPath, args, log: join(dir, 'log') }
    const url = `http://127.0.0.1:${port}`
    return new Throttled(await Process.start(command, `${url}/ready`), url)
  }

  blobUrl(digest: Digest): string {
    return registryBlobUrl(this.url, digest)
  }

  async asked(digest: Digest): Promise<Asked> {
    return (await (await fetch(`${this.url}/account/${hexOf(digest)}`)).json()) as Asked
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]()
  }
}
