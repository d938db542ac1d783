import type { Sample, Samples } from './stats.ts'

export interface Contender {
  readonly name: string
  /** Round 0 is for warming up, and not counted. */
  measure(round: number): Promise<Sample>
}

export interface RoundsOptions {
  readonly rounds: number
  readonly warmUp: 'none' | 'once'
  readonly onProgress: (text: string) => void
  /** Awaited before each measurement. */
  readonly quiet: () => Promise<void>
}

/** Measures in turn, A, B, C, A, B, C: so that what changes about the machine meanwhile meets them all. */
export async function interleave(
  contenders: readonly Contender[],
  { rounds, warmUp, onProgress, quiet }: RoundsOptions,
): Promise<Samples> {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]))
  for (let round = warmUp === 'once' ? 0 : 1; round <= rounds; round += 1) {
    for (const contender of contenders) {
      onProgress(`${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}: ${contender.name}`)
      await quiet()
      const sample = await contender.measure(round)
      if (round > 0) samples.get(contender.name)?.push(sample)
    }
  }
  return samples
}
