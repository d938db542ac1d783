import assert from 'node:assert/strict'
import type { Environment } from '../../src/config/environment.ts'
import { parseConfig } from '../../src/config/load.ts'
import { ConfigError } from '../../src/config/problem.ts'

/** What is said of a configuration that must not be accepted. */
export async function problems(text: string, environment: Environment = {}): Promise<readonly string[]> {
  const error = await parseConfig(text, 'c.yaml', environment).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof ConfigError, `accepted, or not refused as a configuration: ${error}`)
  return error.problems
}
