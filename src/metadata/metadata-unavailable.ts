/** A shared store does not answer, and is not asked until a probe succeeds. The message is logged: it has no secrets. */
export class MetadataUnavailable extends Error {
  override readonly name = 'MetadataUnavailable'
}
