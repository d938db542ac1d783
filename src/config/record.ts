/** Whether a value comes from a YAML mapping. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * Makes a check of several keys run even if some of them are wrong, so that all problems are reported at once. Their
 * values may then have any type.
 */
export const whenRecord = { when: ({ value }: { value: unknown }) => isRecord(value) }
