import { createHash } from 'node:crypto'
import type { Digest } from '../../src/oci/digest.ts'
import type { LoginRefusal } from '../../src/upstream/auth/credentials.ts'
import { RegistryUpstream, type RegistryUpstreamOptions } from '../../src/upstream/registry.ts'
import type { FetchPool } from '../../src/upstream/transfer/fetch-pool.ts'
import { defaultLimits, type UpstreamLimits } from '../../src/upstream/transfer/limits.ts'
import type { BlobSource, BlobSpan } from '../../src/upstream/upstream.ts'
import type { Fetches } from '../support/fetches.ts'
import { TestUpstream } from '../support/upstream.ts'
import { until } from '../support/wait.ts'

export const whole: BlobSpan = { start: 0, end: undefined }

/** Short enough for tests, long enough for a busy machine. */
const limits: UpstreamLimits = { ...defaultLimits, resumeDelay: 1, resumeDelayMax: 2, resumeRetryAfterMax: 5 }

export interface SubjectOptions extends Partial<Omit<RegistryUpstreamOptions, 'limits'>> {
  readonly limits?: Partial<UpstreamLimits>
}

/** The upstream under test, in front of a test upstream; with a clock that stands still. */
export class Subject extends RegistryUpstream {
  readonly clock: { now: number }
  readonly refusals: LoginRefusal[]

  constructor(test: TestUpstream, { limits: changed, ...options }: SubjectOptions = {}) {
    const clock = { now: Date.UTC(2026, 0, 1) }
    const refusals: LoginRefusal[] = []
    super({
      name: 'registry.test',
      url: new URL(test.url),
      privateRepositories: 'refuse',
      limits: { ...limits, ...changed },
      now: () => clock.now,
      hooks: { onRefused: (refusal) => refusals.push(refusal) },
      ...options,
    })
    this.clock = clock
    this.refusals = refusals
  }
}

/** How a manifest is absent that a stranger may not have. */
export const refused = { name: 'RegistryError', code: 'NAME_UNKNOWN' }

/** A signal that is never aborted. */
export function neverAborted(): AbortSignal {
  return new AbortController().signal
}

/** The digest of a source's bytes, read to the end; `each` is awaited before every chunk. */
export async function digestOfSource(
  source: BlobSource | undefined,
  each: (received: number) => unknown = () => {},
): Promise<string> {
  if (!source) return 'absent'
  const hash = createHash('sha256')
  let received = 0
  for await (const chunk of source.body) {
    received += chunk.length
    hash.update(chunk)
    await each(received)
  }
  return `sha256:${hash.digest('hex')}`
}

export async function pull(subject: Subject, repository: string, digest: Digest, span = whole): Promise<string> {
  return digestOfSource(await subject.blob(repository, digest, span, neverAborted()))
}

/** Waits until a thread fetches. */
export async function warmFetches(threads: FetchPool, fetches: Fetches): Promise<void> {
  await using test = await TestUpstream.start()
  await using subject = new Subject(test, { threads })
  const size = 2 * 1024 * 1024
  const digest = test.addSynthetic('a', size)
  await until(async () => {
    const blob = await subject.download('a', digest, { start: 0, size }, neverAborted())
    blob?.close()
    return fetches.all.length > 0
  }, 'a thread that fetches')
}
