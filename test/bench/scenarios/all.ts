import type { Scenario } from '../scenario.ts'
import { blob } from './blob.ts'
import { cold } from './cold.ts'
import { coldTls } from './cold-tls.ts'
import { config } from './config.ts'
import { crowd } from './crowd.ts'
import { crowdTls } from './crowd-tls.ts'
import { firstByteOnMiss } from './first-byte.ts'
import { image } from './image.ts'
import { manifest } from './manifest.ts'
import { memory } from './memory.ts'
import { ranges } from './ranges.ts'
import { soak } from './soak.ts'
import { stores } from './stores.ts'

/** In the order in which they run. */
export const scenarios: readonly Scenario[] = [
  manifest,
  config,
  blob,
  ranges,
  cold,
  coldTls,
  crowd,
  crowdTls,
  firstByteOnMiss,
  memory,
  soak,
  stores,
  image,
]
