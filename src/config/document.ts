import {
  type Document,
  isAlias,
  isMap,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml'

/** A parsed configuration file, with the lines of its keys. */
export interface ConfigDocument {
  /** Plain data; undefined if the text is empty or not valid YAML. */
  readonly value: unknown
  readonly faults: readonly { readonly line: number; readonly message: string }[]
  /** The line of a key or item, or of the nearest key around it; undefined if there is none. */
  lineOf(path: readonly PropertyKey[]): number | undefined
}

export function readDocument(text: string): ConfigDocument {
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    resolveKnownTags: false,
    stringKeys: true,
  })
  const lineAt = (offset: number) => lines.linePos(offset).line
  const faults = [
    ...[...document.errors, ...document.warnings].map((error) => ({ at: error.pos[0], message: describeFault(error) })),
    ...unresolvedAliases(document),
  ].map(({ at, message }) => ({ line: lineAt(at), message: `not valid YAML: ${message}` }))
  return {
    value: faults.length > 0 ? undefined : document.toJS({ maxAliasCount: -1 }),
    faults,
    lineOf(path) {
      let node: unknown = document.contents
      let line: number | undefined
      for (const key of path) {
        const step = child(isAlias(node) ? node.resolve(document) : node, key)
        if (!step) break
        line = lineAt(step.at)
        node = step.node
      }
      return line
    },
  }
}

/** Found here, because the parser reports them late and quotes them: `password: *…` may be meant as a text. */
function unresolvedAliases(document: Document): { at: number; message: string }[] {
  const found: { at: number; message: string }[] = []
  visit(document, {
    Alias(_key, alias) {
      if (alias.resolve(document)) return
      found.push({
        at: alias.range?.[0] ?? 0,
        message: 'an alias (*) without its anchor; quote a text that begins with *',
      })
    },
  })
  return found
}

function child(node: unknown, key: PropertyKey): { at: number; node: unknown } | undefined {
  if (isMap<Node, unknown>(node)) {
    const pair: Pair<Node, unknown> | undefined = node.items.find((item) => String(item.key) === String(key))
    return pair?.key.range ? { at: pair.key.range[0], node: pair.value } : undefined
  }
  const item = isSeq<Node>(node) ? node.items[Number(key)] : undefined
  return item?.range ? { at: item.range[0], node: item } : undefined
}

const faultMessages: Partial<Record<YAMLError['code'], string>> = {
  BAD_DQ_ESCAPE: 'an unknown escape (\\) in double quotes; single quotes have no escapes',
  BAD_INDENT: 'wrong indentation',
  BAD_SCALAR_START: 'a text that begins with this character needs quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a key or value in the wrong place; is a quote or a line break missing?',
  DUPLICATE_KEY: 'the same key twice',
  MISSING_CHAR: 'a closing quote or bracket, or a colon, is missing',
  MULTILINE_IMPLICIT_KEY: 'a key without a colon',
  NON_STRING_KEY: 'a key that is not a text',
  MULTIPLE_DOCS: 'a second document; only one is read',
  TAB_AS_INDENT: 'indented with a tab; YAML needs spaces',
  TAG_RESOLVE_FAILED: 'an unknown tag (!); quote a text that begins with !',
}

/** Our own words: the parser's message may quote the text around the fault, which may be a secret. */
function describeFault(error: YAMLError): string {
  return faultMessages[error.code] ?? error.code.toLowerCase().replaceAll('_', ' ')
}
