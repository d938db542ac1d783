import { parseDigest } from '../oci/digest.ts'
import { parseObject } from '../oci/manifest.ts'
import { isMediaType } from '../oci/media-type.ts'
import { parsePin } from '../oci/pin.ts'
import { isFullRepositoryName, isTag } from '../oci/reference.ts'
import type { Access } from './access-log.ts'
import type { Holding, TaggedImage } from './content-index.ts'
import type { Link, LinkKind, TagRecord } from './metadata-store.ts'

/*
 * What is read back is believed only if it could have been written: others may write to the same Redis, files may be
 * damaged. Here every record passes, whatever it was read from. What does not pass is as good as absent: the parser
 * returns undefined, and the next write replaces it.
 *
 * A value may be of any type. Numbers may be text or bigints; undefined, null and '' are an absent number.
 */

/** The fields of a record of type `Value`, as they were read. */
export type RawRecord<Value> = { readonly [Field in keyof Value]?: unknown }

const maxEtagLength = 1024
const maxPinsSize = 4 * 1024 * 1024
/** What a field's value may have (RFC 9110 §5.5), byte by byte. */
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/

export function parseTag(raw: RawRecord<TagRecord>): TagRecord | undefined {
  const digest = parseDigest(textOf(raw.digest))
  const size = parseSize(raw.size)
  const checkedAt = parseTime(raw.checkedAt)
  const mediaType = textOf(raw.mediaType)
  if (!digest || !isMediaType(mediaType) || size === undefined || checkedAt === undefined) return undefined
  return { digest, mediaType, size, etag: parseEtag(raw.etag), checkedAt }
}

export function parseLink(raw: RawRecord<Link>): Link | undefined {
  const digest = parseDigest(textOf(raw.digest))
  const kind = parseKind(raw.kind)
  const size = parseSize(raw.size)
  const mediaType = textOf(raw.mediaType)
  const { visibility } = raw
  if (!digest || !kind || !isMediaType(mediaType)) return undefined
  if (size === undefined && !isAbsent(raw.size)) return undefined
  if (visibility !== 'public' && visibility !== 'unproven') return undefined
  return { kind, digest, size, mediaType, visibility }
}

export function parseAccess(raw: RawRecord<Access>): Access | undefined {
  const digest = parseDigest(textOf(raw.digest))
  const size = parseSize(raw.size)
  // Only the order of accesses counts, so that a clock before 1970 does no harm.
  const at = parseWhole(raw.at)
  return digest && size !== undefined && at !== undefined ? { digest, size, at } : undefined
}

/** A tag in a list: a record, and whose it is. */
export function parseImage(raw: RawRecord<TagRecord & TaggedImage>): TaggedImage | undefined {
  const record = parseTag(raw)
  const [repository, tag] = [textOf(raw.repository), textOf(raw.tag)]
  if (!record || !isFullRepositoryName(repository) || !isTag(tag)) return undefined
  const { digest, mediaType, checkedAt } = record
  return { repository, tag, digest, mediaType, checkedAt }
}

export function parseHolding(raw: RawRecord<Holding>): Holding | undefined {
  const digest = parseDigest(textOf(raw.digest))
  const kind = parseKind(raw.kind)
  const repository = textOf(raw.repository)
  return digest && kind && isFullRepositoryName(repository) ? { repository, kind, digest } : undefined
}

/** Undefined for bytes that are no list of pins. What is no pin in a list is left out. */
export function parsePins(bytes: Buffer): string[] | undefined {
  const pins = bytes.length <= maxPinsSize ? parseObject(bytes)?.['pins'] : undefined
  return Array.isArray(pins) ? pins.filter(isPin) : undefined
}

export function isPin(value: unknown): value is string {
  return typeof value === 'string' && parsePin(value) !== undefined
}

/** A validator that cannot be sent to an upstream is left out: the next check of the tag goes without one. */
function parseEtag(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > maxEtagLength) return undefined
  return fieldValue.test(value) ? value : undefined
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function parseKind(value: unknown): LinkKind | undefined {
  return value === 'manifest' || value === 'blob' ? value : undefined
}

function parseSize(value: unknown): number | undefined {
  const size = parseWhole(value)
  return size !== undefined && size >= 0 ? size : undefined
}

function parseTime(value: unknown): number | undefined {
  const time = parseWhole(value)
  return time !== undefined && time >= 0 ? time : undefined
}

/** A whole number that a `number` holds exactly. */
function parseWhole(value: unknown): number | undefined {
  if (isAbsent(value) || !['number', 'bigint', 'string'].includes(typeof value)) return undefined
  if (typeof value === 'string' && !/^-?\d{1,16}$/.test(value)) return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : undefined
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || value === ''
}
