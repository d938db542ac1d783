/** A shared store does not answer, and is not asked again until it does. The message has no secrets: it is logged. */
export class MetadataUnavailable extends Error {
  override readonly name = 'MetadataUnavailable'
}
