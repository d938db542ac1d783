import type { Link, MetadataTier } from '../metadata/metadata-store.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError, UpstreamError } from '../oci/error.ts'
import { requireFromUpstream } from './ask-upstream.ts'
import type { FillDependencies } from './fill/fill.ts'
import { mayServe, type Origin } from './origin.ts'
import { SingleFlight } from './single-flight.ts'

export interface RightsOptions {
  readonly metadata: MetadataTier
  readonly dependencies: Pick<FillDependencies, 'observer' | 'answerTimeout' | 'proven'>
}

/** The right to a blob through a repository: a link says that the repository holds it, or the upstream proves it. */
export class Rights {
  readonly #options: RightsOptions
  readonly #proofs = new SingleFlight<{ size: number | undefined }>()

  constructor(options: RightsOptions) {
    this.#options = options
  }

  /** Undefined when the right has to be proven. Rejects where the repository holds the digest as a manifest only. */
  async link(origin: Origin, digest: Digest): Promise<Link | undefined> {
    const blob = await this.#known(origin, 'blob', digest)
    if (blob) return blob
    if (await this.#known(origin, 'manifest', digest)) throw new RegistryError('BLOB_UNKNOWN')
    return undefined
  }

  /**
   * Asks the upstream whether the repository holds the blob, and makes the link. `size` is what the upstream says. Rejects
   * with UpstreamError where the blob is known to have another size.
   */
  prove(origin: Origin, digest: Digest, known?: number): Promise<{ size: number | undefined }> {
    const { dependencies } = this.#options
    return this.#proofs.run(`${origin.repository}@${digest} ${known}`, async () => {
      const found = await requireFromUpstream(origin, 'BLOB_UNKNOWN', dependencies, async (signal) => {
        const told = await origin.upstream.statBlob(origin.name, digest, signal)
        if (told?.size === undefined || known === undefined || told.size === known) return told
        const what = `HEAD blob ${origin.name}@${digest} was answered with ${told.size} bytes of a blob of ${known}`
        throw new UpstreamError(origin.upstream.name, 'protocol', what)
      })
      dependencies.proven(origin, digest, undefined, found.visibility)
      return { size: found.size }
    }).result
  }

  /** Reports an upstream that could not be asked, and throws the error on. */
  reportFailure(origin: Origin, error: unknown): never {
    if (error instanceof UpstreamError) {
      this.#options.dependencies.observer.upstreamFailed(origin.upstream.name, error)
    }
    throw error
  }

  async #known(origin: Origin, kind: Link['kind'], digest: Digest): Promise<Link | undefined> {
    const { metadata, dependencies } = this.#options
    try {
      const link =
        metadata.peekLink(origin.repository, kind, digest) ?? (await metadata.link(origin.repository, kind, digest))
      return link && mayServe(origin, link.visibility) ? link : undefined
    } catch (error) {
      dependencies.observer.storeFailed('metadata', error)
      return undefined
    }
  }
}
