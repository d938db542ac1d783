import { readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** The files of a checkout, by paths relative to it. What git ignores is no part of it. */
export class Repository {
  readonly files: ReadonlySet<string>
  readonly folders: ReadonlySet<string>
  readonly #names: ReadonlySet<string>
  readonly #endings: ReadonlySet<string>
  readonly #ignored: readonly string[]

  constructor(files: Iterable<string>, ignored: readonly string[]) {
    this.files = new Set(files)
    this.folders = new Set([...this.files].flatMap(foldersAbove))
    this.#names = new Set([...this.files].map((file) => basename(file)))
    this.#endings = new Set([...this.files].map((file) => extname(file)).filter((ending) => ending !== ''))
    this.#ignored = ignored
  }

  static read(): Repository {
    const ignored = textOf('.gitignore').split('\n').filter(Boolean)
    const files = [...walk('', ignored)]
    // A folder for files that everybody makes anew has one of its own that ignores them all.
    const local = files.filter((file) => file.endsWith('/.gitignore') && /^\*$/m.test(textOf(file)))
    return new Repository(files, [...ignored, ...local.map((file) => `${dirname(file)}/`)])
  }

  text(file: string): string {
    return textOf(file)
  }

  /** Whether files of the repository end like this one. */
  knowsEnding(path: string): boolean {
    return this.#endings.has(extname(path))
  }

  /** Whether any file is called so, wherever it is. */
  hasName(name: string): boolean {
    return this.#names.has(name)
  }

  /** Whether a path, as written in `document`, leads to a file, a folder or a test, from there or from the top. */
  leadsTo(document: string, path: string): boolean {
    if (this.files.has(`test/${path}.test.ts`)) return true
    return [dirname(document), '.'].some((folder) => {
      const target = normalize(join(folder, path)).replace(/\/$/, '')
      return target === '.' || this.files.has(target) || this.folders.has(target) || isIgnored(target, this.#ignored)
    })
  }
}

function textOf(file: string): string {
  return readFileSync(join(root, file), 'utf8')
}

function* walk(folder: string, ignored: readonly string[]): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.name === '.git' || isIgnored(path, ignored)) continue
    if (entry.isDirectory()) yield* walk(path, ignored)
    else yield path
  }
}

/** By the patterns that name a folder: from the top where there is a slash in it, else anywhere. */
function isIgnored(path: string, patterns: readonly string[]): boolean {
  return patterns
    .filter((pattern) => pattern.endsWith('/'))
    .some(
      (pattern) => `${path}/`.startsWith(pattern) || (/^[^/]+\/$/.test(pattern) && `/${path}/`.includes(`/${pattern}`)),
    )
}

function foldersAbove(file: string): string[] {
  const folder = dirname(file)
  return folder === '.' ? [] : [folder, ...foldersAbove(folder)]
}
