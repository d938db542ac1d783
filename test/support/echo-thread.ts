import { parentPort } from 'node:worker_threads'

/** A thread that does as it is told. */
export interface EchoRequest {
  readonly id: number
  readonly kind: 'echo' | 'ignore' | 'throw' | 'exit'
}

export interface EchoAnswer {
  readonly id: number
}

parentPort?.on('message', ({ id, kind }: EchoRequest) => {
  if (kind === 'throw') throw new Error(`thrown by ${id}`)
  if (kind === 'exit') process.exit(3)
  if (kind === 'echo') parentPort?.postMessage({ id })
})
parentPort?.postMessage({ id: 0 })
