import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import * as z from 'zod'
import { failureOf } from './failure.ts'
import { Secret } from './secret.ts'

export interface SecretFile {
  readonly path: string
  readonly secret: Secret
}

/** The path of a file with one secret. The file is read here; its final line break is removed. */
export const secretFile = z
  .string()
  .min(1, { error: 'must not be empty' })
  .transform(async (text, context): Promise<SecretFile> => {
    const path = resolve(text)
    const content = await readFile(path, 'utf8').catch(failureOf)
    if (typeof content !== 'string') {
      context.addIssue({ code: 'custom', message: `cannot read ${text}: ${content.reason}`, input: text })
      return z.NEVER
    }
    const secret = content.replace(/\r?\n$/, '')
    if (secret === '') context.addIssue({ code: 'custom', message: `${text} is empty`, input: text })
    return { path, secret: new Secret(secret) }
  })
