import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { loadConfig, parseConfig } from '../../src/config/load.ts'
import { schemaFile, schemaText } from './schema-file.ts'

const exampleFile = new URL('../../deploy/config.example.yaml', import.meta.url)

test('the example has the default values', async () => {
  const example = await parseConfig(await readFile(exampleFile, 'utf8'), 'config.example.yaml', {})
  assert.deepEqual(example, await loadConfig(undefined, {}))
})

test('the example names every key', async () => {
  const example = await readFile(exampleFile, 'utf8')
  const keys = keysOf(JSON.parse(schemaText()))
  assert.ok(keys.has('tagTtl') && keys.has('commandTimeout'))
  const absent = [...keys].filter((key) => !new RegExp(`^[# ]*${key}:`, 'm').test(example))
  assert.deepEqual(absent, [])
})

test('the schema for editors is up to date (npm run schema)', async () => {
  assert.deepEqual(JSON.parse(await readFile(schemaFile, 'utf8')), JSON.parse(schemaText()))
})

/** The names of all properties in a JSON schema. */
function keysOf(node: unknown): Set<string> {
  if (typeof node !== 'object' || node === null) return new Set()
  const own = 'properties' in node && typeof node.properties === 'object' ? Object.keys(node.properties ?? {}) : []
  return new Set([...own, ...Object.values(node).flatMap((value) => [...keysOf(value)])])
}
