import { execFile } from 'node:child_process'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** A wall clock that only the process under test sees, and that can be set. */
export class Clock {
  readonly environment: Readonly<Record<string, string>>
  readonly #file: string
  #offset = 0

  private constructor(library: string, file: string) {
    this.environment = { LD_PRELOAD: library, ENTREPOT_TEST_CLOCK: file }
    this.#file = file
  }

  /** The reason, where there is no compiler for it. */
  static async make(folder: string): Promise<Clock | string> {
    const library = join(folder, 'clock.so')
    const source = join(import.meta.dirname, 'clock.c')
    try {
      await promisify(execFile)('cc', ['-shared', '-fPIC', '-O2', '-o', library, source, '-ldl'])
    } catch (error) {
      return `no C compiler: ${(error as Error).message.split('\n')[0]}`
    }
    const file = join(folder, 'clock')
    await writeFile(file, Buffer.alloc(8))
    return new Clock(library, file)
  }

  /** Seconds by which it is ahead. */
  get offset(): number {
    return this.#offset
  }

  async step(seconds: number): Promise<void> {
    this.#offset += seconds
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(this.#offset))
    await using file = await open(this.#file, 'r+')
    await file.write(bytes, 0, 8, 0)
  }
}
