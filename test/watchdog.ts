import { isMainThread, Worker } from 'node:worker_threads'

/**
 * Loaded into every test process by the runner: kills it when its time is over, so that a hang is a failure. From a
 * thread of its own, because the main one may be the one that spins; and for good, because node:test answers a polite
 * signal by waiting for the test.
 */
const watch = `
  const { workerData: seconds } = require('node:worker_threads')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, seconds * 1000)
  require('node:fs').writeSync(2, 'killed: still running after ' + seconds + ' s\\n')
  process.kill(process.pid, 'SIGKILL')
`

if (isMainThread) {
  const seconds = Number(new URL(import.meta.url).searchParams.get('seconds'))
  new Worker(watch, { eval: true, execArgv: [], workerData: seconds }).unref()
}
