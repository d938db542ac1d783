/**
 * Loaded into a mirror before its own code, to set its wall clock: `CLOCK_AHEAD` says by how many milliseconds it is
 * wrong, from the start, or with `CLOCK_STEPS` only between one SIGUSR2 and the next.
 */
const ahead = Number(process.env['CLOCK_AHEAD'])
const right = Date.now
let offset = process.env['CLOCK_STEPS'] === undefined ? ahead : 0

Date.now = () => right() + offset
if (process.env['CLOCK_STEPS'] !== undefined) {
  process.on('SIGUSR2', () => {
    offset = offset === 0 ? ahead : 0
  })
}
