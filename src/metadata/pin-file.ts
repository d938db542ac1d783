import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import { parsePins } from './records.ts'

export interface PinFileOptions {
  /** Where the pins lie; in memory alone where it is left out. */
  readonly path?: string
  /** Pins of a version that had them elsewhere. They count where there is no file that can be read. */
  readonly earlier: readonly string[]
  /** The file cannot be read. It was renamed to `setAside`; undefined where that failed too. */
  readonly onDamage?: (setAside: string | undefined, cause: unknown) => void
}

/**
 * The patterns of images that are never evicted, in a file beside the content. It is written whole, under another name
 * first, and only when they change: `{"pins": ["docker.io/library/alpine:3.20"]}`.
 */
export class PinFile {
  readonly #path: string | undefined
  #pins: ReadonlySet<string>

  private constructor(path: string | undefined, pins: readonly string[]) {
    this.#path = path
    this.#pins = new Set(pins)
  }

  /** Never throws: who cannot read pins goes on without them. */
  static open({ path, earlier, onDamage = () => undefined }: PinFileOptions): PinFile {
    const found = path === undefined ? undefined : read(path, onDamage)
    return new PinFile(path, found ?? earlier)
  }

  /** In order. */
  list(): readonly string[] {
    return [...this.#pins].sort()
  }

  /** False if the pattern is pinned already. Throws where it cannot be written, and changes nothing then. */
  add(pattern: string): boolean {
    if (this.#pins.has(pattern)) return false
    this.#keep([...this.#pins, pattern])
    return true
  }

  /** False if the pattern is not pinned. Throws as `add` does. */
  delete(pattern: string): boolean {
    if (!this.#pins.has(pattern)) return false
    this.#keep([...this.#pins].filter((other) => other !== pattern))
    return true
  }

  /** Writes what it has. Throws where that fails. */
  save(): void {
    this.#keep(this.list())
  }

  #keep(pins: readonly string[]): void {
    if (this.#path !== undefined) write(this.#path, pins.toSorted())
    this.#pins = new Set(pins)
  }
}

function read(path: string, onDamage: Required<PinFileOptions>['onDamage']): readonly string[] | undefined {
  try {
    const pins = parsePins(readFileSync(path))
    if (pins) return pins
    onDamage(setAside(path), new Error('it is no list of pins'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') onDamage(setAside(path), error)
  }
  return undefined
}

function setAside(path: string): string | undefined {
  try {
    const aside = `${path}.corrupt-${statSync(path).mtime.toISOString().replaceAll(':', '')}`
    renameSync(path, aside)
    return aside
  } catch {
    return undefined
  }
}

function write(path: string, pins: readonly string[]): void {
  const temporary = `${path}.new`
  const file = openSync(temporary, 'w', 0o600)
  try {
    writeSync(file, `${JSON.stringify({ pins }, null, 2)}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(temporary, path)
}
