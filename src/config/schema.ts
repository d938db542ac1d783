import * as z from 'zod'
import { adminSchema } from './admin-schema.ts'
import { isRecord, whenRecord } from './record.ts'
import { address, duration, integer, path, redisUrl, size, timeout } from './scalars.ts'
import { canonicalUpstreamName, defaultUpstreamUrl } from './upstream-name.ts'
import { type UpstreamEntry, upstreamsSchema } from './upstream-schema.ts'

const storage = z.strictObject({
  kind: z.literal('file').default('file'),
  path: path.prefault('./data').describe('The folder for everything that is kept; it is created if absent.'),
  maxSize: size
    .refine((bytes) => bytes > 0, { error: 'must be more than 0B' })
    .optional()
    .describe('The bound on stored content; without it, only the disk is the bound.'),
  maxIdle: duration
    .refine((value) => value > 0, { error: 'must be more than 0s' })
    .optional()
    .describe('Content that nobody pulled for this long is evicted even if there is room; without it, none is.'),
  scrubRate: size
    .prefault('8MiB')
    .describe('How much is read back per second, all the time, and compared with its digest; 0B for never.'),
})

const metadata = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('sqlite') }),
  z.strictObject({
    kind: z.literal('redis'),
    url: redisUrl.describe('redis://[user:password@]host[:port][/database], or rediss:// for TLS.'),
    commandTimeout: timeout.prefault('250ms').describe('A command that takes longer makes Redis count as unavailable.'),
  }),
])

const timeouts = z.strictObject({
  connect: timeout.prefault('5s').describe('To connect to an upstream.'),
  upstreamHeaders: timeout.prefault('15s').describe('From a request to the headers of its answer.'),
  upstreamStall: timeout.prefault('30s').describe('Between two bytes of an upstream body, before the body is resumed.'),
  token: timeout.prefault('10s').describe('For a token service to answer.'),
  tagDeadline: timeout
    .prefault('2s')
    .describe('For the upstream to confirm a tag, before the cached one is served stale.'),
  client: timeout.prefault('300s').describe('For a client to take a byte, before its connection is cut.'),
  shutdown: timeout.prefault('30s').describe('For running answers to end after a signal to stop.'),
})

const limits = z.strictObject({
  manifestSize: size
    .refine((bytes) => bytes > 0 && bytes <= 2 ** 30, { error: 'must be more than 0B and at most 1GiB' })
    .prefault('8MiB')
    .describe('The largest manifest that is accepted.'),
  redirects: integer(0, 20).default(6).describe('How many redirects of an upstream are followed.'),
  unfollowedFills: integer(0, 1000)
    .default(8)
    .describe('How many downloads may go on after their last client has left.'),
})

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const

/** Everything a configuration file may contain, with defaults. The output is the `Config`. */
export const schema = z
  .strictObject({
    listen: address.prefault('0.0.0.0:5000').describe('Where clients pull; [::]:5000 and :5000 are fine.'),
    basePath: z
      .string()
      .regex(/^(?:\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$/, {
        error: 'must be empty, or begin with a slash and not end with one',
      })
      .default('')
      .describe('A prefix of every path, such as /mirror, if a proxy in front does not remove it.'),
    admin: section(adminSchema),
    storage: section(storage),
    metadata: z.preprocess((value) => value ?? { kind: 'sqlite' }, metadata).prefault({ kind: 'sqlite' }),
    defaultUpstream: z
      .string()
      .default('docker.io')
      .describe('The upstream of names that do not begin with a registry; one of upstreams.'),
    upstreams: upstreamsSchema
      .prefault({ 'docker.io': {}, 'ghcr.io': {}, 'quay.io': {}, 'registry.k8s.io': {} })
      .describe('The registries that may be asked, by the host users write; if given, only these.'),
    timeouts: section(timeouts),
    limits: section(limits),
    log: section(z.strictObject({ level: z.enum(logLevels).default('info') })),
  })
  .superRefine((value, context) => {
    if (!isRecord(value.upstreams) || typeof value.defaultUpstream !== 'string') return
    const names = Object.keys(value.upstreams).map(canonicalUpstreamName)
    const known = [...new Set(names.filter((name) => name !== undefined))].sort()
    if (known.length === 0 || known.includes(canonicalUpstreamName(value.defaultUpstream) ?? '')) return
    const message = `must be one of the upstreams (${known.join(', ')}), not ${JSON.stringify(value.defaultUpstream)}`
    context.addIssue({ code: 'custom', path: ['defaultUpstream'], message })
  }, whenRecord)
  .transform(({ admin: { token, tokenFile, ...adminRest }, ...value }) => ({
    ...value,
    // A token is always set if `listen` is not a loopback address.
    admin: { ...adminRest, token: token ?? tokenFile?.secret },
    defaultUpstream: canonicalUpstreamName(value.defaultUpstream) ?? value.defaultUpstream,
    upstreams: Object.entries(value.upstreams)
      .map(([key, entry]) => upstreamConfig(key, entry))
      .sort((a, b) => a.name.localeCompare(b.name, 'en')),
  }))

function upstreamConfig(key: string, entry: UpstreamEntry) {
  const { url, username, password, passwordFile, tokenRealm, ...rest } = entry
  const name = canonicalUpstreamName(key) ?? key
  const secret = password ?? passwordFile?.secret
  return {
    /** As users write it: `docker.io`, `registry.local:5000`. */
    name,
    /** An absolute URL without a slash at its end. Its path is put before `/v2/`. */
    url: url ?? defaultUpstreamUrl(name),
    /** With the file that the password was read from, to read it again; undefined if the configuration has it. */
    login:
      username !== undefined && secret ? { username, password: secret, passwordFile: passwordFile?.path } : undefined,
    tokenRealm,
    ...rest,
  }
}

/** A section that may be left out or empty. */
function section<Shape extends z.core.$ZodLooseShape>(object: z.ZodObject<Shape, z.core.$strict>) {
  return z.preprocess((value) => value ?? {}, object.meta({ type: ['object', 'null'] })).prefault({})
}
