// What the documents say, run as it stands there but for the server's address.
import assert from 'node:assert/strict';
import {execFile} from 'node:child_process';
import {cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {after, before} from 'node:test';
import {promisify} from 'node:util';

import {Longtake} from '../../clients/typescript/dist/index.js';
import {ROOT, startServer} from './real_server.mjs';
import {test} from './wire.mjs';

const run = promisify(execFile);
const CLIENT = join(ROOT, 'clients/typescript');
let server, longtake, folder, readme;

before(async () => {
  server = await startServer();
  longtake = new Longtake({url: server.url});
  folder = await mkdtemp(join(tmpdir(), 'longtake-'));
  await mkdir(join(folder, 'node_modules'));
  await symlink(CLIENT, join(folder, 'node_modules/longtake'));
  await writeFile(join(folder, 'package.json'), '{"type": "module"}');
  readme = await readFile(join(CLIENT, 'README.md'), 'utf8');
});
after(async () => {
  await server?.stop();
  await rm(folder, {recursive: true});
});

const examples = (language) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, text]) => text);
const here = (text) => text.replaceAll('http://127.0.0.1:8080', server.url);

/** Frames that a player decodes of what a command writes. */
async function frames(command) {
  const decode = 'ffmpeg -v error -nostats -progress pipe:1 -i pipe:0 -f null -';
  const {stdout, stderr} = await run('bash', ['-c', `set -o pipefail; ${command} | ${decode}`]);
  assert.equal(stderr, '');
  return Number([...stdout.matchAll(/^frame=(\d+)$/gm)].at(-1)[1]);
}

test('the example for Node', async () => {
  const [example] = examples('js');
  await writeFile(join(folder, 'example.js'), here(example));
  const {stdout} = await run(process.execPath, ['example.js'], {cwd: folder});
  assert.match(stdout, /^(\d+ %\n)*$/);
  assert.equal(await frames(`cat '${join(folder, 'ball.mp4')}'`), 49);
});

test('examples and types fit each other', async () => {
  for (const [index, text] of examples('ts').entries()) await writeFile(join(folder, `example-${index}.ts`), text);
  await cp(join(ROOT, 'tests/typescript/types.ts'), join(folder, 'types.ts'));
  const lib = ['es2022', 'dom', 'dom.iterable'];
  const compilerOptions = {target: 'es2022', module: 'node16', lib, types: [], strict: true, noEmit: true};
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({compilerOptions, include: ['*.ts']}));
  const {stdout} = await run('tsc', ['--project', folder]).catch((error) => error);
  assert.equal(stdout, '');
});

test('a stream that grows is decoded whole by what curl is piped into', async () => {
  for (const file of ['clients/typescript/README.md', 'docs/http.md']) {
    const [, curl] = /^ *(curl -sN \S+\/stream\.mp4) \| ffplay -$/m.exec(await readFile(join(ROOT, file), 'utf8')) ?? [];
    assert.ok(curl, file);
    const video = await longtake.create({prompt: 'a red ball bounces', seconds: 3});
    assert.equal(await frames(here(curl).replace('/ID/', `/${video.id}/`)), video.frames);
  }
});
