/** Of the image for Linux; amd64 unless given. */
export type Architecture = 'amd64' | 'arm64'

/** What a client holds of an image, in its own words. */
export interface Held {
  /** Of the manifests that the image is known by: that of its name, and often that of its platform. */
  readonly digests: readonly string[]
  /** The digest of the image's configuration. */
  readonly id: string
  /** Digests of the unpacked layers, lowest first. */
  readonly diffIds: readonly string[]
}

/** A real client with an empty store of its own, set up by the files in deploy/clients. */
export interface Client extends AsyncDisposable {
  /** By the name that users write: `docker.io/library/app:1`. Throws when the client says that it failed. */
  pull(image: string, architecture?: Architecture): Promise<void>
  /** What it holds under that name after the last pull. */
  held(image: string, architecture?: Architecture): Promise<Held>
  /** Runs it and returns what it prints. Absent where the client cannot. */
  run?(image: string): Promise<string>
}

export interface ClientKind {
  readonly name: string
  /** Takes the mirror's `host:port`. */
  create(mirror: string): Promise<Client>
}
