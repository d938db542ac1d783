import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { find, isExecutable } from '../programs.ts'

export const distributionVersion = 'v3.1.2'

const pkg = `github.com/distribution/distribution/v3/cmd/registry@${distributionVersion}`

/** Milliseconds: some four minutes on two processors, where nothing of it was built before. */
const patience = 1_200_000

/**
 * distribution 3, which Debian does not package. It is built from its Go module when it is first wanted, and kept for later
 * runs in a folder of the benchmark's own.
 */
export class DistributionBuild {
  #built: Promise<string | undefined> | undefined

  get program(): string {
    const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
    return join(cache, 'entrepot-bench', `distribution-${distributionVersion}`, 'registry')
  }

  get isThere(): boolean {
    return isExecutable(this.program)
  }

  /** Builds it where it is not there yet. Resolves to why that is not possible, or to undefined. */
  ensure(onProgress: (text: string) => void): Promise<string | undefined> {
    this.#built ??= this.isThere ? Promise.resolve(undefined) : this.#build(onProgress)
    return this.#built
  }

  async #build(onProgress: (text: string) => void): Promise<string | undefined> {
    const go = find('go')
    if (go === undefined) return `distribution ${distributionVersion} is built by Go, which is not installed`
    onProgress(`building distribution ${distributionVersion}; it takes minutes, once`)
    const folder = join(this.program, '..')
    await mkdir(folder, { recursive: true })
    // Without cgo, as its makers build it.
    const env = { ...process.env, GOBIN: folder, CGO_ENABLED: '0' }
    return new Promise((resolve) => {
      execFile(go, ['install', pkg], { cwd: folder, env, timeout: patience }, (error, _, said) => {
        const last = said.trim().split('\n').at(-1) || error?.message
        resolve(error ? `distribution ${distributionVersion} was not built: ${last}` : undefined)
      })
    })
  }
}
