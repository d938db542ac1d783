import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mayReceiveLogin } from '../../src/upstream/auth/realm.ts'
import { targetRefusal } from '../../src/upstream/target.ts'

const hub = 'https://registry-1.docker.io'
const lan = 'https://10.0.0.5:5000'
const plain = 'http://registry.example.com'

const targets: { from: string; to: string; allowed: boolean }[] = [
  { from: hub, to: 'https://production.cloudflare.docker.com/x', allowed: true },
  { from: hub, to: 'https://8.8.8.8/x', allowed: true },
  { from: hub, to: 'http://production.cloudflare.docker.com/x', allowed: false },
  { from: hub, to: 'ftp://mirror.example.com/x', allowed: false },
  { from: hub, to: 'file:///etc/passwd', allowed: false },
  { from: hub, to: 'https://169.254.169.254/latest/meta-data', allowed: false },
  { from: hub, to: 'https://2852039166/latest/meta-data', allowed: false },
  { from: hub, to: 'https://[fe80::1]/', allowed: false },
  { from: hub, to: 'https://[::ffff:169.254.169.254]/', allowed: false },
  { from: hub, to: 'https://[fd00:ec2::254]/', allowed: false },
  { from: hub, to: 'https://metadata.google.internal./', allowed: false },
  { from: hub, to: 'https://127.0.0.1/', allowed: false },
  { from: hub, to: 'https://127.1/', allowed: false },
  { from: hub, to: 'https://localhost:8443/', allowed: false },
  { from: hub, to: 'https://db.localhost/', allowed: false },
  { from: hub, to: 'https://10.1.2.3/', allowed: false },
  { from: hub, to: 'https://[::1]/', allowed: false },
  { from: hub, to: 'https://[::ffff:10.0.0.1]/', allowed: false },
  { from: hub, to: 'https://[fc00::1]/', allowed: false },
  { from: hub, to: 'https://0.0.0.0/', allowed: false },
  { from: lan, to: 'https://10.0.0.6/x', allowed: true },
  { from: lan, to: 'https://169.254.169.254/', allowed: false },
  { from: lan, to: 'http://10.0.0.5:5000/', allowed: false },
  { from: plain, to: 'http://192.168.1.1/x', allowed: true },
  { from: plain, to: 'https://storage.example.com/x', allowed: true },
  { from: plain, to: 'http://169.254.169.254/', allowed: false },
  { from: 'http://localhost:5000', to: 'http://127.0.0.1:9000/', allowed: true },
]

for (const { from, to, allowed } of targets) {
  test(`a redirect from ${from} to ${to} is ${allowed ? 'followed' : 'refused'}`, () => {
    assert.equal(targetRefusal(new URL(to), new URL(from)) === undefined, allowed)
  })
}

const realms: { home?: string; realm: string; configured?: string; allowed: boolean }[] = [
  { realm: 'https://registry-1.docker.io/token', allowed: true },
  { realm: 'https://auth.docker.io/token', allowed: true },
  { realm: 'https://auth.docker.io./token', allowed: true },
  { realm: 'http://auth.docker.io/token', allowed: false },
  { realm: 'https://auth.docker.com/token', allowed: false },
  { realm: 'https://docker.io.evil.example/token', allowed: false },
  { realm: 'https://evildocker.io/token', allowed: false },
  { realm: 'https://auth.example.com/token', configured: 'auth.example.com', allowed: true },
  { realm: 'https://auth.example.com:8443/token', configured: 'auth.example.com', allowed: true },
  { realm: 'https://auth.example.com:8443/token', configured: 'auth.example.com:9443', allowed: false },
  { realm: 'https://auth.example.com/token', configured: 'https://auth.example.com/token', allowed: true },
  { realm: 'http://auth.example.com/token', configured: 'http://auth.example.com/token', allowed: false },
  { realm: 'https://sub.auth.example.com/token', configured: 'auth.example.com', allowed: false },
  { home: 'https://mine.github.io', realm: 'https://yours.github.io/token', allowed: false },
  { home: 'https://registry.example.co.uk', realm: 'https://auth.example.co.uk/token', allowed: true },
  { home: 'https://example.co.uk', realm: 'https://other.co.uk/token', allowed: false },
  { home: 'http://127.0.0.1:5000', realm: 'http://127.0.0.1:5000/token', allowed: true },
  { home: 'http://127.0.0.1:5000', realm: 'http://127.0.0.1:5001/token', allowed: false },
  { home: 'http://localhost:5000', realm: 'http://127.0.0.1:5000/token', allowed: false },
  { home: 'http://registry:5000', realm: 'https://registry:5000/token', allowed: true },
  { home: 'http://registry:5000', realm: 'http://auth:5001/token', configured: 'auth', allowed: true },
]

for (const { home = hub, realm, configured, allowed } of realms) {
  const name = `the login for ${home} ${allowed ? 'goes' : 'does not go'} to ${realm}${configured ? `, where ${configured} is configured` : ''}`
  test(name, () => assert.equal(mayReceiveLogin(new URL(realm), new URL(home), configured), allowed))
}
