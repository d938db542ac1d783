import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { bytes, count, counted, minute, percent, span } from '../../src/commands/figures.ts'
import { ProgressBar } from '../../src/commands/progress-bar.ts'
import { table } from '../../src/commands/table.ts'

suite('Figures for people', () => {
  test('bytes', () => {
    for (const [value, text] of [
      [0, '0 B'],
      [999, '999 B'],
      [1000, '1.0 KiB'],
      [1024, '1.0 KiB'],
      [1536, '1.5 KiB'],
      [102_348, '99.9 KiB'],
      [102_400, '100 KiB'],
      [1_023_000, '999 KiB'],
      [1_048_575, '1.0 MiB'],
      [50 * 2 ** 30, '50.0 GiB'],
      [2 ** 60, '1024 PiB'],
    ] as const) {
      assert.equal(bytes(value), text)
    }
  })

  test('counts, parts and times', () => {
    assert.deepEqual([count(1234567), counted(1, 'blob'), counted(0, 'blob')], ['1,234,567', '1 blob', '0 blobs'])
    assert.deepEqual([percent(0), percent(0.9876), percent(1)], ['0.0 %', '98.8 %', '100.0 %'])
    assert.deepEqual([0, 59.9, 60, 3_661, 86_400, 90_061].map(span), ['0s', '59s', '1m', '1h 1m', '1d', '1d 1h'])
    assert.equal(minute(1_700_000_000_000), '2023-11-14 22:13Z')
  })

  test('tables have no trailing blanks, and columns as wide as their cells', () => {
    const text = table(
      [{ title: 'A' }, { title: 'NUMBER', align: 'right' }, { title: 'C' }],
      [
        ['long one', '1', ''],
        ['b', '1234567', 'x'],
      ],
    )
    assert.equal(text, 'A          NUMBER  C\nlong one        1\nb         1234567  x\n')
  })
})

suite('ProgressBar', () => {
  function printed(live: boolean): { progress: ProgressBar; lines: string[] } {
    const lines: string[] = []
    const terminal = { out: (text: string) => lines.push(text), err: () => undefined, live }
    return { progress: new ProgressBar(terminal, 1000), lines }
  }

  test('is a bar on a terminal', () => {
    const { progress, lines } = printed(true)
    progress.update(0.5, 'half')
    progress.update(7, 'more than all')
    progress.clear()
    progress.clear()
    assert.deepEqual(lines, [
      `\r\u001b[K[${'#'.repeat(15)}${'.'.repeat(15)}] half`,
      `\r\u001b[K[${'#'.repeat(29)}.] more than all`,
      '\r\u001b[K',
    ])
  })

  test('is a line from time to time on other outputs', () => {
    const { progress, lines } = printed(false)
    for (let n = 1; n <= 12; n += 1) progress.update(n / 20, `${n} of 20`)
    progress.clear()
    assert.deepEqual(lines, ['5 of 20\n', '10 of 20\n'])
  })
})
