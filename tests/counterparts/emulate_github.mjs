// A stateful GitHub on 127.0.0.1: node emulate_github.mjs PORT SEED.json. Prints "ready" once it listens.
// The package's own CLI needs a newer node; its API does not.
import fs from 'node:fs'
import { createEmulator } from 'emulate'

const [port, seedFile] = process.argv.slice(2)
const seed = JSON.parse(fs.readFileSync(seedFile, 'utf8'))
const github = await createEmulator({ service: 'github', port: Number(port), baseUrl: `http://127.0.0.1:${port}`, seed })
process.on('SIGTERM', () => github.close().then(() => process.exit(0)))
console.log('ready')
