import { writeFile } from 'node:fs/promises'
import * as z from 'zod'
import { schema } from '../../src/config/schema.ts'

/** For editors: `deploy/config.schema.json`, written by `npm run schema`. */
export const schemaFile = new URL('../../deploy/config.schema.json', import.meta.url)

export function schemaText(): string {
  const title = 'Configuration of Entrepôt'
  return `${JSON.stringify({ title, ...z.toJSONSchema(schema, { io: 'input' }) }, undefined, 2)}\n`
}

if (import.meta.main) await writeFile(schemaFile, schemaText())
