import { setImmediate as turn } from 'node:timers/promises'
import type { Access } from '../../metadata/access-log.ts'
import type { ContentIndex, TaggedImage } from '../../metadata/content-index.ts'
import type { Digest } from '../../oci/digest.ts'
import { listWhile } from './pages.ts'

/** The index answers each question synchronously. After so many of them, other work gets its turn. */
const questionsPerTurn = 50

/**
 * Reads the graph of content from the index: the parents of a digest are the manifests that name it, its children are
 * what it names. Remembers nothing.
 */
export class GraphReader {
  readonly #index: ContentIndex
  #questions = 0

  constructor(index: ContentIndex) {
    this.#index = index
  }

  /** Undefined where the digest is not stored. */
  lastAccess(digest: Digest): Promise<Access | undefined> {
    return this.#ask(() => this.#index.lastAccess(digest))
  }

  /** Stored or not. */
  childrenOf(manifest: Digest): Promise<readonly Digest[]> {
    return this.#ask(() => this.#index.childrenOf(manifest))
  }

  /** Stored or not. */
  parentsOf(digest: Digest): Promise<readonly Digest[]> {
    return this.#ask(() => this.#index.parentsOf(digest))
  }

  /** Repositories that hold the digest by a link. */
  repositoriesOf(digest: Digest): Promise<readonly string[]> {
    return this.#ask(() => this.#index.repositoriesOf(digest))
  }

  /** The tags of one repository. */
  tagsOf(repository: string): Promise<readonly TaggedImage[]> {
    // The listing goes by prefix. A repository comes before all others whose names begin with its own.
    return listWhile<TaggedImage>(
      (after, limit) => this.#index.images(repository, after, limit),
      (image) => image.repository === repository,
    )
  }

  async #ask<Answer>(question: () => Promise<Answer>): Promise<Answer> {
    this.#questions += 1
    if (this.#questions % questionsPerTurn === 0) await turn()
    return await question()
  }
}

/** Walks from `start` along `next`. Yields every digest once, `start` first. */
export async function* walk(
  start: Digest,
  next: (digest: Digest) => Promise<Iterable<Digest>>,
): AsyncGenerator<Digest, undefined> {
  const seen = new Set([start])
  // Iterating over a set includes what is added meanwhile.
  for (const digest of seen) {
    yield digest
    for (const reached of await next(digest)) seen.add(reached)
  }
}
