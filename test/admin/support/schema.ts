/** The part of JSON Schema that deploy/openapi.yaml is written in. */
interface Schema {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly required?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: false
  readonly items?: Schema
  readonly minimum?: number
  readonly maximum?: number
}

type Json = Readonly<Record<string, unknown>>

export interface Document extends Json {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

export interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: 'path' | 'query' }[]
  readonly responses: Readonly<Record<string, { readonly $ref?: string } & Json>>
}

/** What `pointer` (`#/components/…`) points to. */
export function resolve(document: Document, pointer: string): Json {
  return pointer
    .split('/')
    .slice(1)
    .reduce((node, key) => node[key] as Json, document as Json)
}

/** What is wrong with a value, place by place. */
export function faults(value: unknown, schema: Schema, document: Document, place = '$'): string[] {
  if (schema.$ref !== undefined) return faults(value, resolve(document, schema.$ref), document, place)
  if ('const' in schema && value !== schema.const) return [`${place} is not ${schema.const}`]
  if (schema.enum && !schema.enum.includes(value)) return [`${place} is none of ${schema.enum.join(', ')}`]
  const types = schema.type === undefined ? undefined : [schema.type].flat()
  if (types && !types.some((type) => isOf(type, value))) return [`${place} is no ${types.join(' or ')}`]
  if (typeof value === 'number') {
    const outside = value < (schema.minimum ?? value) || value > (schema.maximum ?? value)
    return outside ? [`${place} is out of bounds`] : []
  }
  if (Array.isArray(value)) {
    const { items } = schema
    return items ? value.flatMap((item, n) => faults(item, items, document, `${place}[${n}]`)) : []
  }
  return typeof value === 'object' && value !== null ? objectFaults(value as Json, schema, document, place) : []
}

function objectFaults(value: Json, schema: Schema, document: Document, place: string): string[] {
  const { required = [], properties = {}, additionalProperties } = schema
  const absent = required.filter((key) => !(key in value)).map((key) => `${place}.${key} is absent`)
  const others = additionalProperties === false ? Object.keys(value).filter((key) => !(key in properties)) : []
  const inside = Object.entries(properties).flatMap(([key, own]) =>
    key in value ? faults(value[key], own, document, `${place}.${key}`) : [],
  )
  return [...absent, ...others.map((key) => `${place}.${key} is not documented`), ...inside]
}

function isOf(type: string, value: unknown): boolean {
  if (type === 'null') return value === null
  if (type === 'integer') return Number.isSafeInteger(value)
  if (type === 'array') return Array.isArray(value)
  if (type === 'object') return typeof value === 'object' && value !== null && !Array.isArray(value)
  return typeof value === type
}
