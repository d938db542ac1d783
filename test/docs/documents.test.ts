import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { entrepot } from '../support/program.ts'
import { Document } from './support/document.ts'
import {
  clientSnippets,
  linkFaults,
  namedTests,
  orphanFaults,
  pathFaults,
  scriptFaults,
  snippetFaults,
  subcommandFaults,
  testFaults,
} from './support/faults.ts'
import { Repository } from './support/repository.ts'

const repository = Repository.read()
const documents = [...repository.files]
  .filter((file) => file.endsWith('.md'))
  .sort()
  .map((file) => new Document(file, repository.text(file)))

describe('the documents', () => {
  it('are found, with the tables and snippets that are checked below', () => {
    const paths = documents.map(({ path }) => path)
    for (const path of ['README.md', 'src/README.md', 'deploy/README.md']) assert.ok(paths.includes(path), path)
    assert.ok(documents.some((document) => namedTests(document).length > 0))
    assert.ok(documents.some((document) => clientSnippets(document).length > 0))
  })

  it('name scripts that package.json has', () => {
    const { scripts } = JSON.parse(repository.text('package.json')) as { scripts: Record<string, string> }
    const names = new Set(Object.keys(scripts))
    assert.deepEqual(
      documents.flatMap((document) => scriptFaults(document, names)),
      [],
    )
  })

  it('name commands that entrepot has', async () => {
    const { out } = await entrepot(['--help'])
    const subcommands = new Set([...out.matchAll(/^ {2}([a-z][\w-]*) {2,}/gm)].map(([, name = '']) => name))
    assert.ok(subcommands.has('serve') && subcommands.has('check-config'))
    assert.deepEqual(
      documents.flatMap((document) => subcommandFaults(document, subcommands)),
      [],
    )
  })

  it('link to files and headings that are there', () => {
    assert.deepEqual(
      documents.flatMap((document) => linkFaults(document, documents, repository)),
      [],
    )
  })

  it('name files and folders that are there', () => {
    assert.deepEqual(
      documents.flatMap((document) => pathFaults(document, repository)),
      [],
    )
  })

  it('name tests that are there', () => {
    assert.deepEqual(
      documents.flatMap((document) => testFaults(document, repository)),
      [],
    )
  })

  it('show parts of the client files as they are', () => {
    assert.deepEqual(
      documents.flatMap((document) => snippetFaults(document, repository)),
      [],
    )
  })

  it('are all linked from another, where they are below docs', () => {
    assert.deepEqual(orphanFaults(documents), [])
  })
})

describe('a document that is wrong', () => {
  const text = `# One page

\`\`\`
docs a drawing
\`\`\`

Run \`npm run nothing\` or \`node
test/nothing.ts\`, read [this](nothing.md), [that](#no-such-heading), [here](#one-page) and
\`src/nothing\`, \`nothing.ts\`, \`/etc/nothing.md\`, \`ghcr.io/org/app\`, \`package.json\`.

| what | tests |
| ---- | ----- |
| one  | \`docs/documents\`, \`nothing/here\` |

\`\`\`sh
npm test && npm run check   # npm run comment
entrepot serve; entrepot nothing
node src/entrepot.cjs nothing
\`\`\`

\`\`\`toml
mirrors = ["mirror.example:1"]
\`\`\`
`
  let document: Document

  before(() => {
    document = new Document('docs/page.md', text)
  })

  it('is told by its line, for scripts', () => {
    assert.deepEqual(scriptFaults(document, new Set(['test', 'check'])), [
      'docs/page.md:7: package.json has no script nothing',
    ])
  })

  it('is told for commands', () => {
    assert.deepEqual(subcommandFaults(document, new Set(['serve'])), [
      'docs/page.md:17: entrepot has no command nothing',
      'docs/page.md:18: entrepot has no command nothing',
    ])
  })

  it('is told for links', () => {
    assert.deepEqual(linkFaults(document, [document], new Repository(['docs/page.md'], [])), [
      'docs/page.md:8: the link leads to no file: nothing.md',
      'docs/page.md:8: the link leads to no heading: #no-such-heading',
    ])
  })

  it('is told for paths', () => {
    assert.deepEqual(pathFaults(document, repository), [
      'docs/page.md:7: there is no test/nothing.ts',
      'docs/page.md:9: there is no src/nothing',
      'docs/page.md:9: there is no nothing.ts',
    ])
  })

  it('is told for tests', () => {
    assert.deepEqual(testFaults(document, repository), ['docs/page.md:13: there is no test/nothing/here.test.ts'])
  })

  it('is told for client files', () => {
    assert.deepEqual(snippetFaults(document, repository), [
      'docs/page.md:22: no file in deploy/clients has this: mirrors = ["mirror.example:1"]',
    ])
  })

  it('is told where nothing links to it', () => {
    const [index, root] = [
      new Document('docs/README.md', '[a page](page.md)'),
      new Document('README.md', '[all](docs/)'),
    ]
    assert.deepEqual(orphanFaults([index, document, root]), [])
    assert.deepEqual(orphanFaults([index, document]), ['docs/README.md:1: no document links to this one'])
    assert.deepEqual(orphanFaults([document, root]), ['docs/page.md:1: no document links to this one'])
  })
})
