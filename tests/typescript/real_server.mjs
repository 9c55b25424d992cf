// The server with the bundled model, and a line to it that breaks off.
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {connect, createServer} from 'node:net';
import {createInterface} from 'node:readline';
import {setTimeout} from 'node:timers/promises';
import {fileURLToPath} from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Starts build/release/longtake-server, or the program that LONGTAKE_SERVER names, with a free port for HTTP. */
export async function startServer() {
  const program = process.env.LONGTAKE_SERVER ?? `${ROOT}/build/release/longtake-server`;
  const options = ['--model', `${ROOT}/models/longtake-tiny`, '--listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0',
    '--shutdown-grace-seconds', '0'];
  const server = spawn(program, options, {stdio: ['ignore', 'pipe', 'pipe']});
  const log = [];
  createInterface({input: server.stderr}).on('line', (line) => log.push(line));
  const ended = once(server, 'exit');
  const [ports] = await Promise.race([once(createInterface({input: server.stdout}), 'line'), ended]);
  const port = Number(/http_port=(\d+)/.exec(ports)?.[1]);
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    server.kill('SIGTERM');
    await ended;
  };
  // Until the model is loaded.
  while (!port || server.exitCode !== null || !(await fetch(`${url}/readyz`)).ok) {
    if (!port || server.exitCode !== null) throw new Error(`the server has ended: ${log.slice(-20).join('\n')}`);
    await setTimeout(100);
  }
  return {port, url, stop};
}

/** Passes connections on to a port. The nth is cut when limitOf(n) bytes have come back, and counted in `cuts`. */
export async function startCutter(port, limitOf) {
  let connections = 0;
  const cutter = {cuts: 0};
  const open = new Set();
  const proxy = createServer((client) => {
    let left = limitOf(connections++);
    const server = connect(port, '127.0.0.1');
    const cut = () => { client.destroy(); server.destroy(); };
    for (const socket of [client, server]) {
      open.add(socket);
      socket.on('error', cut).on('close', () => { open.delete(socket); cut(); });
    }
    client.pipe(server);
    server.on('data', (bytes) => {
      const part = bytes.subarray(0, left);
      left -= part.length;
      if (left > 0) return client.write(part) || server.pause();
      ++cutter.cuts;
      server.pause();
      client.write(part, cut);
    });
    client.on('drain', () => server.resume());
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  cutter.url = `http://127.0.0.1:${proxy.address().port}`;
  cutter.stop = () => {
    for (const socket of open) socket.destroy();
    proxy.close();
  };
  return cutter;
}
