/** One way to authenticate that a server offers (RFC 9110 §11.6.1). Scheme and parameter names are lower-case. */
export interface Challenge {
  readonly scheme: string
  readonly parameters: ReadonlyMap<string, string>
}

const separators = /[\s,]*/y
const token = /[!#$%&'*+.^_`|~\w-]+/y
const token68 = /[ \t]+([\w.~+/-]+=*)(?=[ \t]*(?:,|$))/y
const equals = /[ \t]*=[ \t]*/y
const quoted = /"([^"\\]*(?:\\.[^"\\]*)*)(?:"|\\?$)/sy
// Wider than the grammar's token: some servers send a realm, which is a URL, without quotes.
const bare = /[^\s,]*/y

/**
 * Reads all challenges of one or several `WWW-Authenticate` fields. Skips what it cannot read, so that one malformed
 * challenge does not hide the next. Never throws.
 */
export function parseChallenges(fields: string | readonly string[] | undefined): Challenge[] {
  return [fields ?? []].flat().flatMap(parseField)
}

function parseField(text: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = []
  let at = 0
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match) at = pattern.lastIndex
    return match?.[1] ?? match?.[0]
  }
  for (take(separators); at < text.length; take(separators)) {
    const word = take(token)?.toLowerCase()
    if (word === undefined) {
      at += 1
    } else if (take(equals) === undefined) {
      take(token68)
      challenges.push({ scheme: word, parameters: new Map() })
    } else {
      const value = take(quoted)?.replace(/\\(.)/gs, '$1') ?? take(bare) ?? ''
      const parameters = challenges.at(-1)?.parameters
      if (parameters && !parameters.has(word)) parameters.set(word, value)
    }
  }
  return challenges
}
