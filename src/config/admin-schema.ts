import * as z from 'zod'
import { formatAddress, isLoopback } from './address.ts'
import { isRecord, whenRecord } from './record.ts'
import { address, hostName, secret } from './scalars.ts'
import { Secret } from './secret.ts'
import { secretFile } from './secret-file.ts'

/** The second listener. */
export const adminSchema = z
  .strictObject({
    listen: address.prefault('127.0.0.1:5001').describe('Health, metrics, statistics and actions.'),
    token: secret.optional().describe('The bearer token that requests need; required if admin.listen is not loopback.'),
    tokenFile: secretFile.optional().describe('A file with nothing but the token.'),
    hosts: z
      .array(hostName)
      .default([])
      .describe('Host names that requests may use, besides loopback names and the bound address.'),
  })
  .superRefine((value, context) => {
    const tokens = ['token', 'tokenFile'].filter((key) => key in value)
    const report = (key: string, message: string) =>
      context.addIssue({ code: 'custom', path: [key], message, input: undefined })
    if (tokens.length > 1) report('tokenFile', 'must not be set together with token')
    const token = value.token ?? value.tokenFile?.secret
    if (token instanceof Secret && !/^[!-~]+$/.test(token.reveal())) {
      report(tokens[0] ?? 'token', 'must be ASCII without spaces: it travels in a header')
    }
    if (isRecord(value.listen) && 'port' in value.listen && !isLoopback(value.listen) && tokens.length === 0) {
      report(
        'token',
        `must be set (or tokenFile, or ENTREPOT_ADMIN_TOKEN): ${formatAddress(value.listen)} is not a loopback address`,
      )
    }
  }, whenRecord)
