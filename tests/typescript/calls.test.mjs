// Calls over a real connection, answered by a small server: what is sent, how errors are told, and how calls are ended.
import assert from 'node:assert/strict';
import {once} from 'node:events';
import {createServer} from 'node:http';
import {after, before} from 'node:test';

import {Longtake, LongtakeError} from '../../clients/typescript/dist/index.js';
import {collect, encode, fromBlock, makeLog, test} from './wire.mjs';

const log = makeLog();
let server, url;
let answer = null;  // Of the running test: (request with its body, response).

before(async () => {
  server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    request.body = Buffer.concat(parts).toString();
    answer(request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  url = `http://127.0.0.1:${server.address().port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

const json = (response, value, status = 200, headers = {}) =>
  response.writeHead(status, {'Content-Type': 'application/json', ...headers}).end(JSON.stringify(value));

/** Answers all requests with {} and returns a list that they are put into. */
function record() {
  const seen = [];
  answer = (request, response) => {
    const {method, url: path, body, headers: {authorization, 'content-type': type}} = request;
    seen.push({method, path, body: body && JSON.parse(body), authorization, type});
    json(response, {data: [], has_more: false});
  };
  return seen;
}

test('each method asks for its path', async () => {
  const seen = record();
  const longtake = new Longtake({url});
  await longtake.models();
  await longtake.quote({seconds: 3});
  await longtake.create({prompt: 'a red ball'});
  await longtake.list();
  await longtake.list({limit: 2, after: 'x/y&z'});
  await longtake.get('abc');
  await longtake.fork('abc', {from_block: 2, prompt: 'night'});
  await longtake.changePrompt('abc', {prompt: 'night', at_seconds: 2});
  await longtake.reportPlayback('abc', {position: 1.5, paused: true});
  await longtake.cancel('abc');
  await longtake.delete('abc');
  assert.deepEqual(seen.map(({method, path, body}) => [method, path, body]), [
    ['GET', '/v1/models', ''],
    ['POST', '/v1/quote', {seconds: 3}],
    ['POST', '/v1/videos', {prompt: 'a red ball'}],
    ['GET', '/v1/videos', ''],
    ['GET', '/v1/videos?limit=2&after=x%2Fy%26z', ''],
    ['GET', '/v1/videos/abc', ''],
    ['POST', '/v1/videos/abc/fork', {from_block: 2, prompt: 'night'}],
    ['POST', '/v1/videos/abc/prompt', {prompt: 'night', at_seconds: 2}],
    ['POST', '/v1/videos/abc/playback', {position: 1.5, paused: true}],
    ['POST', '/v1/videos/abc/cancel', {}],
    ['DELETE', '/v1/videos/abc', ''],
  ]);
  for (const {body, type} of seen) assert.equal(type, body ? 'application/json' : undefined);
});

test('a video is named by its id, its name, or itself', async () => {
  const seen = record();
  const longtake = new Longtake({url: new URL(`${url}/behind/a/proxy/`)});
  for (const video of ['abc', 'videos/abc', {id: 'abc'}, '../a?b']) await longtake.get(video);
  const base = '/behind/a/proxy/v1/videos';
  assert.deepEqual(seen.map(({path}) => path), [`${base}/abc`, `${base}/abc`, `${base}/abc`, `${base}/..%2Fa%3Fb`]);
  assert.equal(longtake.streamUrl('videos/abc'), `${url}${base}/abc/stream.mp4`);
  assert.equal(longtake.hlsUrl({id: 'abc'}), `${url}${base}/abc/index.m3u8`);
});

test('without a page there is no default address', () => {
  assert.throws(() => new Longtake(), {name: 'TypeError', message: /^url: /});
});

test('a token goes with each request, and a function is asked for it each time', async () => {
  const seen = record();
  await new Longtake({url, token: 'secret'}).get('abc');
  let number = 0;
  const renewing = new Longtake({url, token: async () => `token-${++number}`});
  await renewing.get('abc');
  await renewing.get('abc');
  await new Longtake({url}).get('abc');
  const sent = seen.map(({authorization}) => authorization);
  assert.deepEqual(sent, ['Bearer secret', 'Bearer token-1', 'Bearer token-2', undefined]);
});

test('all pages of a list are read', async () => {
  const seen = [];
  answer = (request, response) => {
    seen.push(request.url);
    const page = seen.length;
    const has_more = page < 3;
    json(response, {object: 'list', data: [{id: `${page}a`}, {id: `${page}b`}], has_more, next: has_more ? `p${page}` : ''});
  };
  const ids = (await collect(new Longtake({url}).listAll({limit: 2}))).map(({id}) => id);
  assert.deepEqual(ids, ['1a', '1b', '2a', '2b', '3a', '3b']);
  assert.deepEqual(seen, ['/v1/videos?limit=2', '/v1/videos?after=p1&limit=2', '/v1/videos?after=p2&limit=2']);
});

test('errors say why, which field, and when to try again', async () => {
  const longtake = new Longtake({url});
  const failure = (fields) => (thrown) => {
    assert.ok(thrown instanceof LongtakeError && thrown instanceof Error && thrown.name === 'LongtakeError');
    const {reason, status, retryAfter, param, message} = thrown;
    assert.deepEqual({reason, status, retryAfter, param, message}, {retryAfter: undefined, param: undefined, ...fields});
    return true;
  };
  const wrong = {code: 'INVALID_REQUEST', message: 'seconds: no', param: 'seconds', type: 'x'};
  answer = (_, response) => json(response, {error: wrong}, 400);
  await assert.rejects(longtake.create({prompt: 'x', seconds: -1}),
    failure({reason: 'INVALID_REQUEST', status: 400, param: 'seconds', message: 'seconds: no'}));
  const full = {code: 'QUEUE_FULL', message: 'full', param: null};
  answer = (_, response) => json(response, {error: full}, 429, {'Retry-After': '7'});
  await assert.rejects(longtake.create({prompt: 'x'}),
    failure({reason: 'QUEUE_FULL', status: 429, retryAfter: 7, message: 'full'}));
  answer = (_, response) => response.writeHead(503, {'Retry-After': 'Thu, 01 Jan 1970 00:00:00 GMT'}).end('<h1>down</h1>');
  await assert.rejects(longtake.get('abc'),
    failure({reason: 'UNEXPECTED_ANSWER', status: 503, retryAfter: 0, message: 'status 503: <h1>down</h1>'}));
  answer = (_, response) => response.end('<h1>a page</h1>');
  await assert.rejects(longtake.get('abc'), {reason: 'UNEXPECTED_ANSWER', message: 'this is not JSON: <h1>a page</h1>'});
  answer = (request) => request.socket.destroy();
  await assert.rejects(longtake.get('abc'), {reason: 'CONNECTION_FAILED', status: undefined});
  answer = (_, response) => {
    response.writeHead(200, {'Content-Length': '100'}).write('{"id":');
    response.socket.end();
  };
  await assert.rejects(longtake.get('abc'), {reason: 'CONNECTION_FAILED', message: 'the answer broke off'});
});

test('an abort ends a call with its own reason', async () => {
  const longtake = new Longtake({url});
  const reason = new Error('no longer wanted');
  for (const call of [(options) => longtake.get('abc', options), (options) => longtake.stream('abc', options),
    (options) => collect(longtake.watch('abc', options))]) {
    const aborter = new AbortController();
    answer = () => aborter.abort(reason);
    await assert.rejects(call({signal: aborter.signal}), (thrown) => thrown === reason);
    await assert.rejects(call({signal: aborter.signal}), (thrown) => thrown === reason);
  }
});

test('a watch over a connection that is lost goes on', async () => {
  const asked = [];
  answer = (request, response) => {
    asked.push(request.url);
    const bytes = encode(fromBlock(log, Number(new URL(request.url, url).searchParams.get('from_block'))));
    if (asked.length > 2) return response.end(bytes);
    // The first is cut within a chunk; the second ends within one as if it were whole.
    if (asked.length === 1) response.write(bytes.subarray(0, 800), () => response.socket.destroy());
    else response.end(bytes.subarray(0, 1000));
  };
  const events = await collect(new Longtake({url}).watch('abc', {backoff: () => 0, viewerId: 'me'}));
  assert.deepEqual(events, log);
  assert.equal(asked.length, 3);
  assert.equal(asked[0], '/v1/videos/abc/watch?from_block=0&viewer_id=me');
});

test('who leaves a watch, or aborts it, closes its connection', async () => {
  const longtake = new Longtake({url});
  const until = (response) => new Promise((resolve) => response.on('close', resolve));
  let closed;
  answer = (_, response) => {
    closed = until(response);
    response.write(encode(log.slice(0, 4)));
  };
  for await (const event of longtake.watch('abc')) if (event.event === 'chunk') break;
  await closed;
  const aborter = new AbortController();
  const reason = new Error('enough');
  await assert.rejects(async () => {
    for await (const event of longtake.watch('abc', {signal: aborter.signal})) if (event.event === 'chunk') aborter.abort(reason);
  }, (thrown) => thrown === reason);
  await closed;
});

test('a stream has the bytes, and fails where it is cut', async () => {
  const longtake = new Longtake({url});
  const bytes = encode(log);
  answer = (_, response) => response.end(bytes);
  const read = async () => Buffer.concat(await collect(await longtake.stream('abc')));
  assert.deepEqual(new Uint8Array(await read()), bytes);
  answer = (_, response) => response.write(bytes, () => response.socket.destroy());
  await assert.rejects(read());
});
