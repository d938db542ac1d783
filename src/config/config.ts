import type * as z from 'zod'
import type { schema } from './schema.ts'
import type { Secret } from './secret.ts'

/**
 * The whole configuration, checked, with defaults, deep-frozen; `schema.ts` says what each key means. Sizes are bytes,
 * durations milliseconds, paths absolute, names canonical.
 */
export type Config = Frozen<z.output<typeof schema>>

/** An entry of `Config.upstreams`: these are at least one, each name once, in order of name. */
export type UpstreamConfig = Config['upstreams'][number]

type Frozen<T> = T extends Secret ? T : T extends object ? { readonly [Key in keyof T]: Frozen<T[Key]> } : T
