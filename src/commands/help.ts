import type { Command } from './command.ts'

export function generalHelp(commands: ReadonlyMap<string, Command>): string {
  const lines = [...commands].map(([name, { summary }]) => `  ${name.padEnd(14)}${summary}`)
  return `entrepot: a pull-through caching mirror for container registries

Usage: entrepot <command> [options]

Commands:
${lines.join('\n')}

entrepot <command> --help tells more. Exit status: 0, 1 failed, 2 not understood.
`
}

export function commandHelp(name: string, { summary, options, args }: Command): string {
  const known = Object.entries(options).map(([key, { value, about }]) => [`--${key}${value ? ` ${value}` : ''}`, about])
  const lines = [...known, ['-h, --help', 'this text']].map(([flag = '', about]) => `  ${flag.padEnd(16)}${about}\n`)
  const words = ['entrepot', name, ...(known.length > 0 ? ['[options]'] : []), ...(args ? [args.shown] : [])]
  return `${summary}.

Usage: ${words.join(' ')}
${args ? `\n  ${args.shown.padEnd(16)}${args.about}\n` : ''}
Options:
${lines.join('')}`
}
