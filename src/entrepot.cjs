#!/usr/bin/env node
'use strict'

// This file runs on any Node, so that an old one is refused in one sentence instead of a syntax error.
if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write(`entrepot needs Node.js 24 or newer; this is ${process.version}.\n`)
  process.exit(1)
}

const { enableCompileCache } = require('node:module')
const { join } = require('node:path')

const { env, execArgv, execPath, argv } = process

// All threads reuse the compiled code of an earlier start: it takes half the time, and 20 MB less. If the folder cannot
// be written, the code is compiled at each start.
env['NODE_COMPILE_CACHE'] ??= join(__dirname, '../node_modules/.cache/entrepot')

/** Settings that a process takes only at its start. */
const settings = {
  // Collects garbage sooner: 40 MB less at full load, at the same speed.
  flags: ['--max-semi-space-size=8'],
  environment: {
    // File operations of many streams share the thread pool with DNS look-ups.
    UV_THREADPOOL_SIZE: '16',
    // The pool's threads hold little memory, but glibc would give each an arena that it never frees.
    MALLOC_ARENA_MAX: '2',
  },
}

const isSetByUser = [...execArgv, env['NODE_OPTIONS'] ?? ''].some((flag) => /--max[-_]semi[-_]space[-_]size/.test(flag))
if (argv[2] === 'serve' && process.execve && !isSetByUser) {
  // The process keeps its id. Settings of the user win.
  const command = [execPath, ...settings.flags, ...execArgv, __filename, ...argv.slice(2)]
  try {
    process.execve(execPath, command, { ...settings.environment, ...env })
  } catch {
    // Some systems do not support it: go on without the settings.
  }
}

enableCompileCache()
env['UV_THREADPOOL_SIZE'] ??= settings.environment.UV_THREADPOOL_SIZE
void import('./main.ts')
