import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { catalogueOf } from './catalogue.ts'
import { behaviourOf, type FaultName, faultFor, type Weather, weathers } from './faults.ts'
import { commandOf, parseOptions, type TortureOptions, UsageError } from './options.ts'
import { lineOf, planOf } from './plan.ts'
import { Random } from './random.ts'

function optionsOf(...argv: string[]): TortureOptions {
  const options = parseOptions(argv)
  if (options === 'help') throw new Error('no options')
  return options
}

describe('the schedule of faults', () => {
  it('is the same for the same seed, ten times over, and another for another', () => {
    const schedules = Array.from({ length: 10 }, (_, seed) => {
      const options = optionsOf('--seed', String(seed), '--redis', '--disk', '400MiB')
      const lines = planOf(options).map(lineOf)
      assert.deepEqual(planOf(options).map(lineOf), lines)
      return lines.join('\n')
    })
    assert.equal(new Set(schedules).size, 10)
  })

  it('has every deed that the options allow, in order of time', () => {
    const plan = planOf(optionsOf('--minutes', '20', '--redis', '--disk', '400MiB'))
    const deeds = new Set(plan.map(({ deed }) => deed))
    assert.equal(deeds.size, 16)
    const times = plan.map(({ at }) => at)
    assert.deepEqual(
      times,
      [...times].sort((a, b) => a - b),
    )
    const plain = new Set(planOf(optionsOf('--minutes', '20')).map(({ deed }) => deed))
    assert.deepEqual([...deeds].filter((deed) => !plain.has(deed)).sort(), ['fill-disk', 'redis'])
  })

  it('gives each request the same fault, whatever came before it', () => {
    const request = { kind: 'blob', method: 'GET' } as never
    const answer = { status: 200, headers: {}, body: { size: 1000, slice: () => Buffer.alloc(0) } }
    const draw = (): [FaultName, unknown][] =>
      (Object.keys(weathers) as Weather[]).map((weather) => {
        const random = new Random(`a ${weather}`)
        const name = faultFor(random, weather, request, false)
        return [name, behaviourOf(name, random, answer)]
      })
    assert.deepEqual(draw(), draw())
  })

  it('never lies about what has to stay right', () => {
    const request = { kind: 'manifest', method: 'GET' } as never
    for (let at = 0; at < 2000; at += 1) {
      const name = faultFor(new Random(`${at}`), at % 2 === 0 ? 'lying' : 'absent', request, true)
      assert.ok(['none', 'malformed', 'cut'].includes(name), name)
    }
  })

  it('is about the same content for the same seed', () => {
    const of = (seed: number) =>
      catalogueOf(new Random(`${seed}`), 128 * 2 ** 20).blobs.map(({ repository, digest }) => `${repository} ${digest}`)
    assert.deepEqual(of(1), of(1))
    assert.notDeepEqual(of(1), of(2))
  })
})

describe('the options of a torture', () => {
  it('make a command that gives the same options', () => {
    const options = optionsOf('--minutes', '0.5', '--seed', '7', '--tls', '--no-sendfile', '--disk', '256MiB')
    const words = commandOf(options).split(' -- ')[1]?.split(' ') ?? []
    assert.deepEqual(optionsOf(...words), options)
  })

  for (const argv of [
    ['--sed', '1'],
    ['--seed', 'one'],
    ['--seed', '1.5'],
    ['--seed', ''],
    ['--minutes', '0'],
    ['--minutes'],
    ['--disk', '400'],
    ['--disk', '1MiB'],
    ['--descriptors', '3'],
    ['now'],
  ]) {
    it(`refuses ${argv.join(' ')} in one line`, () => {
      assert.throws(
        () => parseOptions(argv),
        (error) => error instanceof UsageError && !error.message.includes('\n') && error.message.length > 10,
      )
    })
  }
})
