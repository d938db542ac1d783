import type { Link, MetadataTier } from '../metadata/metadata-store.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError, UpstreamError } from '../oci/error.ts'
import { ask } from './deadline.ts'
import type { FillDependencies } from './fill/fill.ts'
import { mayServe, type Origin } from './origin.ts'
import { SingleFlight } from './single-flight.ts'

export interface RightsOptions {
  readonly metadata: MetadataTier
  readonly dependencies: Pick<FillDependencies, 'observer' | 'answerTimeout' | 'proven'>
}

/** Which blobs a repository holds: by a link, or by the upstream's word. */
export class Rights {
  readonly #options: RightsOptions
  readonly #proofs = new SingleFlight<{ size: number | undefined }>()

  constructor(options: RightsOptions) {
    this.#options = options
  }

  /** Undefined when it has to be proven. Rejects where the repository holds the digest as a manifest and nothing else. */
  async link(origin: Origin, digest: Digest): Promise<Link | undefined> {
    const blob = await this.#known(origin, 'blob', digest)
    if (blob) return blob
    if (await this.#known(origin, 'manifest', digest)) throw new RegistryError('BLOB_UNKNOWN')
    return undefined
  }

  /** Asks the upstream whether the repository holds the blob, and makes the link; `size` is what it says, no more. */
  prove(origin: Origin, digest: Digest): Promise<{ size: number | undefined }> {
    const { answerTimeout, proven } = this.#options.dependencies
    return this.#proofs.run(`${origin.repository}@${digest}`, async () => {
      const asked = ask(origin, { within: answerTimeout }, (signal) =>
        origin.upstream.statBlob(origin.name, digest, signal),
      )
      const found = await asked.catch((error: unknown) => this.tell(origin, error))
      if (!found) throw new RegistryError('BLOB_UNKNOWN')
      proven(origin, digest, undefined, found.visibility)
      return { size: found.size }
    }).result
  }

  /** Tells of an upstream that could not be asked, and throws on. */
  tell(origin: Origin, error: unknown): never {
    if (error instanceof UpstreamError) {
      this.#options.dependencies.observer.upstreamFailed(origin.upstream.name, error)
    }
    throw error
  }

  async #known(origin: Origin, kind: Link['kind'], digest: Digest): Promise<Link | undefined> {
    const { metadata, dependencies } = this.#options
    try {
      const link =
        metadata.recentLink(origin.repository, kind, digest) ?? (await metadata.link(origin.repository, kind, digest))
      return link && mayServe(origin, link.visibility) ? link : undefined
    } catch (error) {
      dependencies.observer.storeFailed('metadata', error)
      return undefined
    }
  }
}
