import { connect } from 'node:net'

/** `slow-program.ts URL CLIENTS FROM TO`: each client at a pace of its own, from FROM to TO bytes per second. */

const [url = '', count = '1', from = '1', to = '1'] = process.argv.slice(2)
const { hostname, port, pathname } = new URL(url)
const clients = Number(count)
const interval = 100

const received = new Array<number>(clients).fill(0)
let broken = 0
let leaving = false

function start(index: number): void {
  const share = clients === 1 ? 0 : index / (clients - 1)
  const bytesPerSecond = Number(from) + (Number(to) - Number(from)) * share
  // The stream reads ahead by its high-water mark, and the kernel by its buffers, as it does for any client.
  const socket = connect({ host: hostname, port: Number(port) })
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nConnection: close\r\n\r\n`)
  let owed = 0
  const timer = setInterval(() => {
    owed += (bytesPerSecond * interval) / 1000
    while (owed > 0) {
      const chunk = socket.read() as Buffer | null
      if (chunk === null) break
      owed -= chunk.length
      received[index] = (received[index] ?? 0) + chunk.length
    }
  }, interval)
  socket.on('readable', () => undefined)
  socket.on('error', () => undefined)
  socket.on('end', () => socket.end())
  socket.once('close', () => {
    clearInterval(timer)
    if (!leaving) broken += 1
  })
}

for (let index = 0; index < clients; index += 1) start(index)

process.once('SIGTERM', () => {
  leaving = true
  process.stdout.write(JSON.stringify({ received, broken }), () => process.exit(0))
})
