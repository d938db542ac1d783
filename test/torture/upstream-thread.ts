import { parentPort, workerData } from 'node:worker_threads'
import type { Certificate } from '../support/certificate.ts'
import { TestUpstream } from '../support/upstream.ts'
import { catalogueOf, publish } from './catalogue.ts'
import { behaviourOf, type FaultName, faultFor, type Weather } from './faults.ts'
import { FetchWatch } from './fetch-watch.ts'
import { Random } from './random.ts'

/** What the thread is made with. */
export interface UpstreamSettings {
  readonly seed: number
  readonly disk: number | undefined
  readonly identity: Certificate | undefined
  /** Repositories whose tags are never lied about. */
  readonly sturdy: readonly string[]
}

/** What it is told to do; `id` comes back with the answer. */
export type UpstreamCommand = { readonly id: number } & (
  | { readonly command: 'weather'; readonly weather: Weather }
  | { readonly command: 'move-tag'; readonly repository: string; readonly tag: string; readonly digest: string }
  | { readonly command: 'expire' | 'stop' | 'silence' | 'resume' | 'end' }
  | { readonly command: 'limit'; readonly connections: number }
)

/** What it tells. */
export type UpstreamMessage =
  | { readonly type: 'ready'; readonly url: string }
  | { readonly type: 'done'; readonly id: number }
  /** An answer that goes wrong. `at`: milliseconds on the clock that all threads share. */
  | {
      readonly type: 'fault'
      readonly at: number
      readonly name: FaultName
      readonly kind: string
      readonly method: string
      readonly repository: string | undefined
      readonly reference: string | undefined
    }
  /** The same blob was fetched whole when that was not needed. */
  | { readonly type: 'fetched-twice'; readonly at: number; readonly digest: string; readonly detail: string }

const port = parentPort
if (!port) throw new Error('this is a thread')
const { seed, disk, identity, sturdy } = workerData as UpstreamSettings
const random = new Random(`torture ${seed}`)
const asked = new Map<string, number>()
let weather: Weather = 'calm'
let era = 0

const watch = new FetchWatch((digest, detail) => tell({ type: 'fetched-twice', at: Date.now(), digest, detail }))
const upstream = await TestUpstream.start({
  auth: { kind: 'bearer', service: 'torture', realm: 'self', tokenTtl: 30 },
  cdn: true,
  etag: 'digest',
  ...(identity && { identity }),
  behave(request, answer) {
    const { kind, method, repository = '', reference = '' } = request
    const key = `${era} ${kind} ${method} ${repository} ${reference}`
    const times = (asked.get(key) ?? 0) + 1
    asked.set(key, times)
    // A draw of its own for each request: in whatever order they come, the same one meets the same fault.
    const own = random.fork(`${key} ${times}`)
    const name = faultFor(own, weather, request, sturdy.includes(repository))
    if (name !== 'none') tell({ type: 'fault', at: Date.now(), name, kind, method, repository, reference })
    watch.opened(request, answer, name)
    return behaviourOf(name, own, answer)
  },
})
publish(catalogueOf(random.fork('content'), disk), upstream)
const sweep = setInterval(() => {
  watch.look()
  upstream.reset()
}, 100)

port.on('message', async (message: UpstreamCommand) => {
  await obey(message)
  tell({ type: 'done', id: message.id })
  if (message.command === 'end') port.close()
})
tell({ type: 'ready', url: upstream.url })

async function obey(message: UpstreamCommand): Promise<void> {
  switch (message.command) {
    case 'weather':
      weather = message.weather
      era += 1
      asked.clear()
      return
    case 'move-tag':
      upstream.tag(message.repository, message.tag, message.digest as never)
      return
    case 'expire':
      upstream.expireTokens()
      upstream.expireSignatures()
      return
    case 'limit':
      upstream.limitConnections(message.connections)
      return
    case 'stop':
      return upstream.stop()
    case 'silence':
      upstream.hang()
      return
    case 'resume':
      return upstream.restart()
    case 'end':
      clearInterval(sweep)
      await upstream[Symbol.asyncDispose]()
  }
}

function tell(message: UpstreamMessage): void {
  port?.postMessage(message)
}
