import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const source = join(import.meta.dirname, '../src')
const declaration = /^export (?:declare )?(?:abstract )?(?:type|interface|class|enum) (\w+)/gm

test('every exported type has a name of its own in src', () => {
  const declarations = globSync('**/*.ts', { cwd: source }).flatMap((file) =>
    [...readFileSync(join(source, file), 'utf8').matchAll(declaration)].map(([, name = '']) => ({ name, file })),
  )
  assert.ok(declarations.length > 300, `only ${declarations.length} exported types were found`)
  const duplicates = [...Map.groupBy(declarations, ({ name }) => name)]
    .filter(([, places]) => places.length > 1)
    .map(([name, places]) => `${name}: ${places.map(({ file }) => file).join(', ')}`)
  assert.deepEqual(duplicates, [])
})
