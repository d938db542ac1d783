/**
 * A pattern of images to keep: `docker.io/library/alpine`, `docker.io/library/alpine:3.20`, `docker.io/*`,
 * `ghcr.io/org/app:v1.*`.
 */
export interface Pin {
  readonly pattern: string
  /** The part of the repository before the first `*`: every repository that the pin can match begins with it. */
  readonly prefix: string
  /** The pattern has no `*`: it names one image, or one repository. */
  readonly isExact: boolean
  matches(repository: string, tag: string): boolean
  /** Whether some tag of the repository could match. */
  covers(repository: string): boolean
}

const maxLength = 400
const form =
  /^(?<repository>[a-z0-9][a-z0-9.-]*(?::\d{1,5})?(?:\/[a-z0-9._*-]+)+|[a-z0-9.-]*\*[a-z0-9._*/-]*)(?::(?<tag>[A-Za-z0-9_*][A-Za-z0-9._*-]{0,127}))?$/

/** `*` stands for any characters, or none. A tag may follow the last `:`. Undefined for text that names no image. */
export function parsePin(pattern: string): Pin | undefined {
  const { repository, tag = '*' } = (pattern.length <= maxLength && form.exec(pattern)?.groups) || {}
  if (repository === undefined) return undefined
  return {
    pattern,
    prefix: repository.split('*', 1)[0] ?? '',
    isExact: !pattern.includes('*'),
    matches: (name, label) => matches(repository, name) && matches(tag, label),
    covers: (name) => matches(repository, name),
  }
}

/** Looks for one part after the other, each at its first place. A regular expression could be slow; this cannot. */
function matches(glob: string, text: string): boolean {
  const [first = '', ...rest] = glob.split('*')
  const last = rest.pop()
  if (last === undefined) return glob === text
  if (!text.startsWith(first)) return false
  let at = first.length
  for (const part of rest) {
    const found = text.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}
