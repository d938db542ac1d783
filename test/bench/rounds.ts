import type { Sample, Samples } from './stats.ts'

export interface Contender {
  readonly name: string
  /** The first is 1; those before it are for warming up, and not counted. */
  measure(round: number): Promise<Sample>
}

export interface RoundsOptions {
  readonly rounds: number
  /** Rounds. A just-in-time compiler is done with most of a program after some use of it, and not before. */
  readonly warmUp: number
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
  for (let round = 1 - warmUp; round <= rounds; round += 1) {
    for (const contender of contenders) {
      onProgress(`${round < 1 ? 'warming up' : `round ${round} of ${rounds}`}: ${contender.name}`)
      await quiet()
      const sample = await contender.measure(round)
      if (round > 0) samples.get(contender.name)?.push(sample)
    }
  }
  return samples
}
