#!/usr/bin/env node
'use strict'

// Runs on any Node, so that an old one is refused in one sentence instead of a syntax error.
if (Number(process.versions.node.split('.')[0]) < 24) {
  process.stderr.write(`entrepot needs Node.js 24 or newer; this is ${process.version}.\n`)
  process.exit(1)
}

const { enableCompileCache } = require('node:module')
const { join } = require('node:path')

const { env, execArgv, execPath, argv } = process

// What was compiled for an earlier start, by every thread: half the time, and 20 MB less. Where the folder cannot be
// written it is compiled anew.
env['NODE_COMPILE_CACHE'] ??= join(__dirname, '../node_modules/.cache/entrepot')

/** What can only be told to a process at its start, for one that runs for months beside others. */
const settings = {
  // Garbage is collected sooner: at full load 40 MB less, and as fast.
  flags: ['--max-semi-space-size=8'],
  environment: {
    // File work of many streams shares the thread pool with name look-ups.
    UV_THREADPOOL_SIZE: '16',
    // Its threads hold little memory; left alone, the C library gives each an arena that it does not take back.
    MALLOC_ARENA_MAX: '2',
  },
}

const byHand = [...execArgv, env['NODE_OPTIONS'] ?? ''].some((flag) => /--max[-_]semi[-_]space[-_]size/.test(flag))
if (argv[2] === 'serve' && process.execve && !byHand) {
  // Its number stays the same, for whoever watches the process. What is set by hand holds.
  const command = [execPath, ...settings.flags, ...execArgv, __filename, ...argv.slice(2)]
  try {
    process.execve(execPath, command, { ...settings.environment, ...env })
  } catch {
    // Some systems cannot, and it goes on as it is.
  }
}

enableCompileCache()
env['UV_THREADPOOL_SIZE'] ??= settings.environment.UV_THREADPOOL_SIZE
void import('./main.ts')
