import { type Ask, type Expectation, nameOf, subjectOf } from './ask.ts'
import { lies } from './faults.ts'
import type { History } from './history.ts'
import { timeouts } from './mirror.ts'
import type { Invariant } from './violation.ts'
import type { Seen, Span } from './visit.ts'

/** What the answers are judged by, besides themselves. */
export interface Circumstances {
  readonly history: History
  /** Milliseconds since `from` in which the mirror was not running, or this process was late. */
  readonly excused: (from: number) => number
  /** Whether the mirror was ended or frozen at any time since. */
  readonly hadGap: (since: number) => boolean
  /** Whether the disk is full, or was lately. */
  readonly diskWasFull: boolean
}

export interface Finding {
  readonly invariant: Invariant
  readonly subject: string
  readonly detail: string
}

/** Milliseconds. A 404 that the upstream gave is believed for a while. */
const believed = 20_000
/** Milliseconds by which what one thread tells may come late, or what began before goes on. */
const justBefore = 2000
/** Milliseconds for which the mirror remembers an absence, and some more. */
const remembered = 8000
/** How long the mirror may rest after a failure, and a little. */
const longestRest = 75_000
/** What a check of a tag may take until it is over, beyond the tag's time. */
const checkSlack = (timeouts.upstreamHeaders * 2 + 4) * 1000
/** What the storage host says is about no repository. */
const storage = ''
/** Milliseconds from the decision that a tag is fresh to the answer. */
const ageSlack = 5000
/** More than the buffers between two processes hold. */
const beyondBuffers = 16 * 1024 * 1024

/** What is wrong with one answer; nothing, most of the time. */
export function judge(ask: Ask, seen: Seen, around: Circumstances): Finding[] {
  const { expectation, visit } = ask
  const subject = subjectOf(expectation)
  const found: Finding[] = []
  const add = (invariant: Invariant, detail: string) =>
    found.push({
      invariant,
      subject,
      detail: `${ask.habit} ${visit.method} ${visit.path}: ${detail}; ${summary(seen)}`,
    })

  if (seen.overdue) add(seen.overdue === 'head' ? 'late-head' : 'late-body', 'nothing came within the limit')
  if (seen.status === 500) add('internal-error', 'status 500')
  judgeContent(ask, seen, around, add)
  if (isUnserved(ask, seen, around))
    add('not-served', `the upstream has been well for ${Math.round(around.history.calmFor / 1000)} s`)
  return found
}

type Add = (invariant: Invariant, detail: string) => void

function judgeContent({ expectation, visit }: Ask, seen: Seen, around: Circumstances, add: Add): void {
  const isHead = visit.method === 'HEAD'
  switch (expectation.kind) {
    case 'blob':
      judgeAbsence(expectation.repository, expectation.digest, seen, around, add)
      if (isHead) judgeHead(expectation, seen, around, add)
      else judgeBlob(expectation, seen, visit.pauseFor, around, add)
      return
    case 'manifest': {
      const { repository, digest, body } = expectation.manifest
      judgeAbsence(repository, digest, seen, around, add)
      if (seen.status === 200 && seen.complete && !isHead && !seen.body.equals(body)) add('wrong-body', `not ${digest}`)
      return
    }
    case 'tag':
      judgeAbsence(expectation.tag.repository, expectation.tag.tag, seen, around, add)
      judgeTag(expectation, seen, isHead, around, add)
      return
    case 'nothing':
      if (seen.status === 200 || seen.status === 206) add('no-right', `status ${seen.status}`)
      return
    case 'ping':
      if (seen.status !== 200 && seen.status !== 0) add('not-served', `status ${seen.status}`)
  }
}

function judgeBlob(
  { repository, digest, bytes, from, to }: Extract<Expectation, { readonly kind: 'blob' }>,
  seen: Seen,
  pauseFor: number | undefined,
  { hadGap, history }: Circumstances,
  add: Add,
): void {
  const { status, complete, headers, wrong } = seen
  if (pauseFor !== undefined && status === 200 && complete && to - from > beyondBuffers && !hadGap(seen.startedAt)) {
    add('kept-waiting', `it took nothing for ${pauseFor / 1000} s`)
  }
  if (!complete) return
  // sendfile(2) sends the pages of the file themselves: what is done to the file changes what is on its way already.
  if ((history.touchedAt(digest) ?? 0) >= seen.startedAt) return
  if (status === 200 && (seen.bytes !== bytes.size || (from === 0 && wrong))) {
    add('wrong-body', `${seen.bytes} bytes of ${bytes.size}${wrongBytes(wrong, 0)}`)
  }
  if (status !== 206) return
  // A range that ends before the blob does, or is passed through, cannot be verified by anyone.
  const [outcome] = statusOf(seen)
  const verifiable = outcome === 'hit' || (to === bytes.size && outcome !== 'fwd=bypass')
  // Nor can the size of the whole that comes with it, where no descriptor is known.
  if (!verifiable && isLiedAbout([repository, storage], digest, seen.startedAt - believed, history)) return
  const range = `bytes ${from}-${to - 1}/${bytes.size}`
  if (headers['content-range'] !== range || seen.bytes !== to - from) {
    add('wrong-body', `${seen.bytes} bytes, ${headers['content-range']} instead of ${range}`)
    // These were compared with other bytes than they claim to be.
    return
  }
  if (wrong && verifiable) add('wrong-body', `range ${range}${wrongBytes(wrong, from)}`)
}

/** Where they are in the blob: what a known fault explains is told by the place. */
function wrongBytes(wrong: Span | undefined, start: number): string {
  return wrong ? `, wrong between ${start + wrong.from} and ${start + wrong.to}` : ''
}

function judgeHead(
  { repository, digest, bytes }: Extract<Expectation, { readonly kind: 'blob' }>,
  seen: Seen,
  { history }: Circumstances,
  add: Add,
): void {
  const length = seen.headers['content-length']
  if (seen.status !== 200 || Number(length ?? -1) === bytes.size) return
  // Of a blob that is not stored, a HEAD knows what the upstream says, and nobody can verify that.
  const isPassedOn = isLiedAbout([repository], digest, seen.startedAt - justBefore, history)
  if (length === undefined || !isPassedOn) add('head-length', `${length}, not ${bytes.size}`)
}

function isLiedAbout(repositories: readonly string[], digest: string, since: number, history: History): boolean {
  return repositories.some((repository) =>
    history.liesAbout(repository, digest, since).some((fault) => lies.has(fault)),
  )
}

function judgeTag(
  { tag }: Extract<Expectation, { readonly kind: 'tag' }>,
  seen: Seen,
  isHead: boolean,
  around: Circumstances,
  add: Add,
): void {
  const { status, complete, headers } = seen
  if (!complete || (status !== 200 && status !== 304)) return
  const digest =
    status === 304 ? headers.etag?.replaceAll('"', '') : isHead ? headers['docker-content-digest'] : seen.digest
  const name = nameOf(tag)
  const last = typeof digest === 'string' ? around.history.lastPointed(name, digest) : undefined
  if (last === undefined) {
    add('wrong-tag', `answered with ${digest}`)
    return
  }
  if (headers['docker-content-digest'] !== digest)
    add('wrong-tag', `its digest is ${digest}, its header says ${headers['docker-content-digest']}`)
  const age = Number(headers.age ?? 0)
  const isAged = age * 1000 > timeouts.tagTtl * 1000 + ageSlack + around.excused(seen.startedAt)
  // The age is by the wall clock, and that was stepped.
  const isTold = isAged && !around.history.has('step-clock', seen.startedAt - justBefore)
  if (!isStale(seen) && isTold) add('old-tag', `its own Age is ${age} s`)
  const oldest = seen.startedAt - timeouts.tagTtl * 1000 - checkSlack
  if (!isStale(seen) && last + around.excused(last) < oldest) {
    add('old-tag', `it has not pointed there for ${Math.round((seen.startedAt - last) / 1000)} s`)
  }
}

function judgeAbsence(
  repository: string,
  reference: string,
  { status, startedAt }: Seen,
  { history, excused }: Circumstances,
  add: Add,
): void {
  if (status !== 404) return
  // A registry that says so itself, in its own words, is believed.
  const said = history.liesAbout(repository, reference, startedAt - believed)
  // A token that is refused though it is new means the same to a client as a repository that is not for it.
  // It is as new as when the mirror was frozen.
  if (history.has('expire', startedAt - 1000 - excused(startedAt - 1000))) {
    history.refuse(repository, reference)
    return
  }
  if (history.wasRefused(repository, reference, startedAt - remembered)) return
  // To those who never saw it, a refusal means the same.
  if (!said.includes('json-404') && !said.includes('denied'))
    add('false-absence', said.length === 0 ? 'the upstream never said so' : `the upstream said ${said.join(', ')}`)
}

/** Whether it got no content though nothing stood in the way. */
function isUnserved(
  { expectation, visit }: Ask,
  seen: Seen,
  { history, hadGap, excused, diskWasFull }: Circumstances,
): boolean {
  if (expectation.kind === 'nothing' || expectation.kind === 'ping' || seen.left || visit.pauseFor !== undefined)
    return false
  if (seen.complete && (seen.status < 400 || seen.status === 404)) return false
  if (hadGap(seen.startedAt - 2000) || diskWasFull || seen.overdue) return false
  const needed = seen.complete ? longestRest : 20_000
  return history.calmFor > needed + (performance.now() - seen.startedAt) + excused(performance.now() - longestRest)
}

/** The members of `Cache-Status` behind the cache's name (RFC 9211). */
export function statusOf({ headers }: Pick<Seen, 'headers'>): readonly string[] {
  return String(headers['cache-status'] ?? '')
    .split('; ')
    .slice(1)
}

function isStale(seen: Seen): boolean {
  return statusOf(seen).includes('detail=stale')
}

function summary({ status, bytes, complete, error, headers, startedAt, endedAt }: Seen): string {
  const end = complete ? 'complete' : (error ?? 'left')
  return `${status} ${headers['cache-status'] ?? '-'}, ${bytes} bytes, ${end}, ${Math.round(endedAt - startedAt)} ms`
}
