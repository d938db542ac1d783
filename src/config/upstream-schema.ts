import * as z from 'zod'
import { whenRecord } from './record.ts'
import { duration, hostOrUrl, secret, webUrl } from './scalars.ts'
import { secretFile } from './secret-file.ts'
import { canonicalUpstreamName } from './upstream-name.ts'

/** An entry of `upstreams`. `{}` and an empty value are the same: every key has a default. */
const upstreamSchema = z.preprocess(
  (value) => value ?? {},
  z
    .strictObject({
      url: webUrl
        .refine((text) => !URL.canParse(text) || !/[?#]|\/v2\/?$/.test(new URL(text).href), {
          error: 'must end before /v2/, and have no query or fragment',
        })
        .transform((text) => new URL(text).href.replace(/\/+$/, ''))
        .optional()
        .describe('Where the registry is; https://<host> by default. http:// and private addresses are fine here.'),
      username: z
        .string()
        .min(1, { error: 'must not be empty' })
        .refine((text) => !text.includes(':'), { error: 'must not contain a colon' })
        .optional()
        .describe('The login, for private repositories or a higher rate limit.'),
      password: secret.optional().describe('Better kept in its own file: passwordFile.'),
      passwordFile: secretFile.optional().describe('A file with nothing but the password.'),
      tokenRealm: hostOrUrl
        .optional()
        .describe(
          "A token service outside the registry's own domain that the login may be sent to: host, host:port or URL.",
        ),
      privateRepositories: z
        .enum(['refuse', 'serve'])
        .default('refuse')
        .describe('Whether everyone who reaches the mirror may read what only the login can read.'),
      tagTtl: duration.prefault('5m').describe('How long a tag is fresh; after it the upstream is asked again.'),
      staleFor: duration
        .prefault('30d')
        .describe('How long after that a tag is still served while the upstream is unavailable.'),
    })
    .superRefine((value, context) => {
      const report = (key: string, message: string) =>
        context.addIssue({ code: 'custom', path: [key], message, input: undefined })
      const passwords = ['password', 'passwordFile'].filter((key) => key in value)
      if (passwords.length > 1) report('passwordFile', 'must not be set together with password')
      if (value.username === undefined && passwords[0]) report(passwords[0], 'needs a username')
      if (value.username !== undefined && !passwords[0]) report('username', 'needs a password or a passwordFile')
    }, whenRecord)
    .meta({ type: ['object', 'null'] }),
)

export type UpstreamEntry = z.output<typeof upstreamSchema>

/** All upstreams, by the host users write. */
export const upstreamsSchema = z
  .record(
    z.string().refine((text) => canonicalUpstreamName(text) !== undefined, {
      error: 'must be a registry host as users write it, such as ghcr.io or registry.local:5000',
    }),
    upstreamSchema,
  )
  .superRefine((value, context) => {
    const names = Object.keys(value).map((key) => ({ key, name: canonicalUpstreamName(key) }))
    for (const { key } of names.filter(({ name }, at) => names.findIndex((other) => other.name === name) < at)) {
      context.addIssue({ code: 'custom', path: [key], message: 'names the same registry as an entry above it' })
    }
    if (names.length === 0 && context.issues.length === 0)
      context.addIssue({ code: 'custom', message: 'must name at least one registry' })
  }, whenRecord)
