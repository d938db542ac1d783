import type { Load } from '../meter.ts'
import { find } from '../programs.ts'
import { shell } from './shell.ts'

export interface WrkOptions {
  readonly seconds: number
  /** Ends it sooner. */
  readonly until?: AbortSignal
  readonly connections?: number
  /** A Lua file that makes the requests. */
  readonly script?: string
  readonly accept?: string
  /** One header more: `Name: value`. */
  readonly header?: string
}

export interface WrkLoad extends Load {
  readonly requests: number
  readonly perSecond: number
  /** Milliseconds that so many of a hundred answers took at most. */
  readonly p50: number
  readonly p99: number
}

/** A SIGTERM becomes the SIGINT at which wrk stops and tells its figures; the first `wait` fails then. */
const script = '"$@" & trap "kill -INT $!" TERM; wait $! || wait $!'

/** As many requests as one thread can make over 16 connections. Throws where an answer was no success. */
export async function wrk(
  url: string,
  { seconds, until, connections = 16, script: lua, accept, header }: WrkOptions,
): Promise<WrkLoad> {
  const program = find('wrk') ?? 'wrk'
  const scripted = lua === undefined ? [] : ['-s', lua]
  const accepting = accept === undefined ? [] : ['-H', `Accept: ${accept}`]
  const more = header === undefined ? [] : ['-H', header]
  const load = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency']
  const args = [program, ...load, ...scripted, ...accepting, ...more, url]
  const ended = await shell(script, args, until)
  const { out } = ended
  if (/Non-2xx|Socket errors/.test(out)) throw new Error(`wrk ${url}: not every answer was a success\n${out}`)
  const [, requests, duration, read, unit = ''] =
    /(\d+) requests in ([\d.]+\w+), ([\d.]+)([KMGT]?B) read/.exec(out) ?? []
  return {
    seconds: milliseconds(duration) / 1000,
    requests: Number(requests),
    // Headers included, and rounded: of use where bodies are large.
    bytes: Number(read) * 1024 ** 'BKMGT'.indexOf(unit[0] ?? 'B'),
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1]),
    p50: milliseconds(/ 50%\s+([\d.]+\w+)/.exec(out)?.[1]),
    p99: milliseconds(/ 99%\s+([\d.]+\w+)/.exec(out)?.[1]),
    cpu: ended.cpu,
  }
}

const units: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 }

function milliseconds(text = ''): number {
  const [, value, unit = ''] = /^([\d.]+)(\w+)$/.exec(text) ?? []
  return Number(value) * (units[unit] ?? Number.NaN)
}
