import { Log } from '../../../src/telemetry/log.ts'
import { standardOutput } from '../../../src/telemetry/output.ts'

/** A process that logs far more than a pipe holds, lets the event loop turn, and ends. Reports on its IPC channel. */
const log = new Log({ level: 'info', now: () => 0, output: standardOutput(), maxBuffered: 256 * 1024 })
const lines = Number(process.argv[2])
for (let n = 0; n < lines; n += 1) log.info('noise', { n, padding: 'x'.repeat(100) })
await new Promise((resolve) => setImmediate(resolve))
await log.flush(Number(process.argv[3]))
process.send?.({ dropped: log.dropped }, () => process.exit(0))
