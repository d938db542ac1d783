/** A piece of a document, and where it begins. */
export interface Piece {
  /** From 1. */
  readonly line: number
  readonly text: string
}

export interface Fence extends Piece {
  /** As the opening fence names it; empty where it names none. */
  readonly language: string
}

/** Code spans of one cell of a table, under the title of its column. */
export interface Cell extends Piece {
  readonly column: string
}

const fencePattern = /^( *)```(\S*)[^\n]*\n(.*?)^\1``` *$/gms
const spanPattern = /(`+)((?:(?!\n\s*\n)[^`])+)\1/g
const linkPattern = /\[[^\]]*\]\(([^)\s]+)\)/g

/** A Markdown file, by the parts that can be held against the repository. */
export class Document {
  /** Relative to the repository. */
  readonly path: string
  readonly #text: string
  /** The text, in which fenced blocks are empty lines. */
  readonly #prose: string

  constructor(path: string, text: string) {
    this.path = path
    this.#text = text
    this.#prose = text.replace(fencePattern, (block) => block.replace(/[^\n]/g, ''))
  }

  fences(): Fence[] {
    return [...this.#text.matchAll(fencePattern)].map(({ index, 2: language = '', 3: text = '' }) => ({
      language,
      text,
      line: lineAt(this.#text, index) + 1,
    }))
  }

  codeSpans(): Piece[] {
    return [...this.#prose.matchAll(spanPattern)].map(({ index, 2: text = '' }) => ({
      text: text.trim(),
      line: lineAt(this.#prose, index),
    }))
  }

  /** The targets of links. */
  links(): Piece[] {
    return [...this.#prose.matchAll(linkPattern)].map(({ index, 1: text = '' }) => ({
      text,
      line: lineAt(this.#prose, index),
    }))
  }

  /** The text of its headings. */
  headings(): string[] {
    return [...this.#prose.matchAll(/^#+ +(.+)$/gm)].map(({ 1: text = '' }) => text)
  }

  /** The cells of its tables, but for titles. */
  cells(): Cell[] {
    const found: Cell[] = []
    let titles: string[] | undefined
    for (const [at, line] of this.#prose.split('\n').entries()) {
      if (!line.startsWith('|')) {
        titles = undefined
        continue
      }
      const texts = line.split('|').slice(1, -1)
      if (titles === undefined) titles = texts.map((text) => text.trim())
      else found.push(...texts.map((text, place) => ({ line: at + 1, text, column: titles?.[place] ?? '' })))
    }
    return found
  }
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length
}
