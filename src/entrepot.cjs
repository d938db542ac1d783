'use strict'

// Runs on any Node, so that an old one is refused in one sentence instead of a syntax error. The thread pool's size
// has to be set before its first use: file work of many streams shares it with DNS look-ups.
if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write(`entrepot needs Node.js 24 or newer; this is ${process.version}.\n`)
  process.exit(1)
}
process.env['UV_THREADPOOL_SIZE'] ??= '16'
void import('./main.ts')
