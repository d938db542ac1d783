/** Whether a value is what a YAML mapping becomes. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/**
 * For a check that looks at several keys: it runs although some of them are wrong, so that all problems come at once.
 * What it looks at may therefore be anything, whatever its type says.
 */
export const whenRecord = { when: ({ value }: { value: unknown }) => isRecord(value) }
