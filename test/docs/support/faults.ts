import { dirname, join, normalize } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Document, Piece } from './document.ts'
import type { Repository } from './repository.ts'

/** Each function names what a document says and what is not so, as `file:line: what`. */
type Fault = string

/** Blocks of these languages hold commands, or drawings of folders. */
const commandLanguages = new Set(['', 'sh', 'bash', 'console'])
const configLanguages = new Set(['json', 'toml', 'yaml'])

/** npm's scripts that are not in package.json. */
export function scriptFaults(document: Document, scripts: ReadonlySet<string>): Fault[] {
  return commands(document).flatMap(({ line, text }) =>
    [...text.matchAll(/\bnpm (?:run(?:-script)? ([\w:.-]+)|(start|test)\b)/g)]
      .map(([, run, short]) => run ?? short ?? '')
      .filter((script) => !scripts.has(script))
      .map((script) => `${document.path}:${line}: package.json has no script ${script}`),
  )
}

/** Subcommands of `entrepot` that it does not have. */
export function subcommandFaults(document: Document, subcommands: ReadonlySet<string>): Fault[] {
  return commands(document).flatMap(({ line, text }) =>
    [...text.matchAll(/(?:^|[|;&] *|\$ |npx (?:-\S+ )*)(?:node (?:\S*\/)?entrepot\.cjs|entrepot) +([a-z][\w-]*)/g)]
      .map(([, subcommand = '']) => subcommand)
      .filter((subcommand) => !subcommands.has(subcommand))
      .map((subcommand) => `${document.path}:${line}: entrepot has no command ${subcommand}`),
  )
}

/** Relative links to no file, no folder or no heading. */
export function linkFaults(document: Document, documents: readonly Document[], repository: Repository): Fault[] {
  return document.links().flatMap(({ line, text }) => {
    if (/^[a-z][a-z+.-]*:/i.test(text)) return []
    const [path = '', heading] = text.split('#')
    const target = path === '' ? document.path : normalize(join(dirname(document.path), path)).replace(/\/$/, '')
    if (target !== '.' && !repository.files.has(target) && !repository.folders.has(target)) {
      return [`${document.path}:${line}: the link leads to no file: ${text}`]
    }
    const headings = documents.find((other) => other.path === target)?.headings()
    if (heading === undefined || headings?.map(anchorOf).includes(heading)) return []
    return [`${document.path}:${line}: the link leads to no heading: ${text}`]
  })
}

/** Paths of project files and folders, in code spans and commands, that are not there. */
export function pathFaults(document: Document, repository: Repository): Fault[] {
  const { path } = document
  const spans = document.codeSpans().flatMap(({ line, text }) => wordsOf({ line, text }))
  const fenced = fencedCommands(document).flatMap(wordsOf)
  const absent = [...spans, ...fenced].filter(({ text }) => {
    if (!/^(?:[\w@-][\w.@-]*|\.[\w.-]+)(?:\/[\w.@-]+)*\/?$/.test(text)) return false
    if (text.includes('/')) return isOurs(text, repository) && !repository.leadsTo(path, text)
    return /\.(?:ts|cjs|md)$/.test(text) && !repository.hasName(text)
  })
  return absent.map(({ line, text }) => `${path}:${line}: there is no ${text}`)
}

/** Tests that a table names in its column `tests`, and that are not there. */
export function testFaults(document: Document, repository: Repository): Fault[] {
  return namedTests(document)
    .filter(({ text }) => !repository.files.has(`test/${text}.test.ts`))
    .map(({ line, text }) => `${document.path}:${line}: there is no test/${text}.test.ts`)
}

export function namedTests(document: Document): Piece[] {
  return document
    .cells()
    .filter(({ column }) => column === 'tests')
    .flatMap(({ line, text }) => [...text.matchAll(/`([^`]+)`/g)].map(([, name = '']) => ({ line, text: name })))
}

/** Blocks of configuration for clients that are part of no file below `deploy/clients`. */
export function snippetFaults(document: Document, repository: Repository): Fault[] {
  const files = [...repository.files].filter((file) => file.startsWith('deploy/clients/'))
  return clientSnippets(document)
    .filter(({ text }) => !files.some((file) => isPartOf(text, repository.text(file))))
    .map(({ line, text }) => `${document.path}:${line}: no file in deploy/clients has this: ${text.trim()}`)
}

export function clientSnippets(document: Document): Piece[] {
  return document
    .fences()
    .filter(({ language, text }) => configLanguages.has(language) && text.includes('mirror.example'))
}

/** Pages below `docs/` that nothing links to; a link to a folder shows its README. */
export function orphanFaults(documents: readonly Document[]): Fault[] {
  const linked = new Set(
    documents.flatMap((document) =>
      document.links().flatMap(({ text }) => {
        if (text.startsWith('#')) return []
        const target = normalize(join(dirname(document.path), text.split('#')[0] ?? ''))
        return [target, join(target, 'README.md')]
      }),
    ),
  )
  return documents
    .map(({ path }) => path)
    .filter((path) => path.startsWith('docs/') && !linked.has(path))
    .map((path) => `${path}:1: no document links to this one`)
}

/** Single lines that are commands, or contain one. */
function commands(document: Document): Piece[] {
  return [...document.codeSpans(), ...fencedCommands(document)]
}

/** The lines of fenced commands, without comments. */
function fencedCommands(document: Document): Piece[] {
  return document
    .fences()
    .filter(({ language }) => commandLanguages.has(language))
    .flatMap(({ line, text }) =>
      text.split('\n').map((row, at) => ({ line: line + at, text: row.replace(/(?:^|\s)#.*/, '') })),
    )
}

function wordsOf({ line, text }: Piece): Piece[] {
  return text.split(/\s+/).map((word) => ({ line, text: word }))
}

/** Whether a path with a slash in it is meant to be one of the project: it ends like a file of it, or begins in it. */
function isOurs(path: string, repository: Repository): boolean {
  return repository.knowsEnding(path) || repository.folders.has(path.split('/')[0] ?? '')
}

/** The name that forges give to a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')
}

/** JSON by its members; anything else by its lines, in order. */
function isPartOf(snippet: string, file: string): boolean {
  const [part, whole] = [membersOf(snippet), membersOf(file)]
  if (part && whole)
    return part.every(([name, value]) => whole.some((member) => isDeepStrictEqual(member, [name, value])))
  const lines = file.split('\n').map((line) => line.trim())
  let next = 0
  for (const wanted of snippet.split('\n').map((line) => line.trim())) {
    if (wanted === '') continue
    const at = lines.indexOf(wanted, next)
    if (at < 0) return false
    next = at + 1
  }
  return true
}

function membersOf(text: string): [name: string, value: unknown][] | undefined {
  if (!text.trimStart().startsWith('{')) return undefined
  return Object.entries(JSON.parse(text) as object)
}
