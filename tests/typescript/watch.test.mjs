// A watch: how its messages are read, and how it is taken up again.
import assert from 'node:assert/strict';

import {Longtake, LongtakeError} from '../../clients/typescript/dist/index.js';
import {blockIn, body, collect, encode, fromBlock, makeLog, test} from './wire.mjs';

const log = makeLog();
const url = 'http://longtake.test';
const atOnce = {backoff: () => 0};

/** A client whose nth request is answered by `answer(from_block, n, signal)`, and the blocks that it asked for. */
function clientOf(answer) {
  const blocks = [];
  const fetch = async (address, {signal}) => {
    blocks.push(blockIn(address));
    const told = await answer(blocks.at(-1), blocks.length - 1, signal);
    return told instanceof Response ? told : new Response(told);
  };
  return {longtake: new Longtake({url, fetch}), blocks};
}

const refusal = (status, code, headers = {}) => new Response(JSON.stringify({error: {code, message: code}}), {status, headers});

test('pieces of any size give the same events', async () => {
  const bytes = encode(log);
  for (const piece of [1, 2, 3, 7, 64, bytes.length]) {
    const {longtake} = clientOf(() => body(bytes, {piece}));
    assert.deepEqual(await collect(longtake.watch('abc')), log);
  }
});

test('a watch that breaks off anywhere loses no event and doubles none', async () => {
  const size = encode(log).length;
  for (let limit = 0; limit < size; limit += 5) {  // Which meets all parts of messages: none is so short but the line's end.
    for (const how of ['fail', 'end']) {
      const {longtake} = clientOf((from, n) => body(encode(fromBlock(log, from)), n === 0 ? {limit, how} : {}));
      assert.deepEqual(await collect(longtake.watch('abc', atOnce)), log, `${how} after ${limit} bytes`);
    }
  }
});

test('a watch that breaks off again and again goes on where it was', async () => {
  // No call gets much more than a block.
  const limit = encode(log.slice(0, 1 + log.findIndex((event) => event.block === 1 && event.index === 0))).length;
  const {longtake, blocks} = clientOf((from) => body(encode(fromBlock(log, from)), {limit}));
  assert.deepEqual(await collect(longtake.watch('abc', {...atOnce, attempts: 1})), log);
  assert.deepEqual(blocks, [0, 1, 2]);
});

test('it goes on with the block that is not whole, and never behind the last', async () => {
  const place = (block, index) => log.findIndex((event) => event.block === block && event.index === index);
  const upTo = (block, index) => encode(log.slice(0, 1 + place(block, index)));
  const parts = [upTo(0, 0), upTo(0, 1), upTo(2, 1)];
  const {longtake, blocks} = clientOf((from, n) => body(parts[n] ?? encode(fromBlock(log, from))));
  assert.deepEqual(await collect(longtake.watch('abc', atOnce)), log);
  assert.deepEqual(blocks, [0, 0, 1, 2]);
});

test('it begins at the block that is asked for', async () => {
  const {longtake, blocks} = clientOf((from, n) => body(encode(fromBlock(log, from)), n === 0 ? {limit: 700} : {}));
  assert.deepEqual(await collect(longtake.watch('abc', {...atOnce, fromBlock: 1})), fromBlock(log, 1));
  assert.deepEqual([blocks[0], blocks.length], [1, 2]);
});

test('what is repeated so that there is no silence is not yielded', async () => {
  const waiting = (position) => ({event: 'waiting', position});
  const sent = [...log.slice(0, 2), waiting(2), waiting(2), waiting(1), {event: 'unknown'}, ...log.slice(2)];
  const {longtake} = clientOf(() => body(encode(sent)));
  const events = await collect(longtake.watch('abc'));
  assert.deepEqual(events, [...log.slice(0, 2), waiting(2), waiting(1), ...log.slice(2)]);
});

test('a video that is not made fails the watch with its reason', async () => {
  const error = {event: 'error', code: 'VIDEO_CANCELLED', message: 'by a call'};
  const {longtake, blocks} = clientOf(() => body(encode([...log.slice(0, 4), error])));
  const seen = [];
  await assert.rejects(async () => {
    for await (const event of longtake.watch('abc', atOnce)) seen.push(event);
  }, (thrown) => thrown instanceof LongtakeError && thrown.reason === 'VIDEO_CANCELLED' && thrown.message === 'by a call');
  assert.deepEqual(seen, log.slice(0, 4));
  assert.equal(blocks.length, 1);
});

test('a server that shuts down, and one that is not ready, are asked again', async () => {
  const error = {event: 'error', code: 'SHUTTING_DOWN', message: 'bye'};
  const answers = [body(encode([...log.slice(0, 4), error])), refusal(503, 'MODEL_LOADING'), refusal(502, 'of a proxy'),
    refusal(429, 'QUOTA_EXCEEDED')];
  const told = [];
  const {longtake} = clientOf((from, n) => answers[n] ?? body(encode(fromBlock(log, from))));
  const options = {...atOnce, onDisconnect: (why, seconds) => told.push([why.reason, why.status, seconds])};
  assert.deepEqual(await collect(longtake.watch('abc', options)), log);
  assert.deepEqual(told, [['SHUTTING_DOWN', undefined, 0], ['MODEL_LOADING', 503, 0], ['of a proxy', 502, 0],
    ['QUOTA_EXCEEDED', 429, 0]]);
});

test('a refusal that will not pass ends a watch that is taken up again', async () => {
  const {longtake, blocks} = clientOf((_, n) => (n === 0 ? body(encode(log), {limit: 500}) : refusal(410, 'BLOCK_NOT_KEPT')));
  await assert.rejects(collect(longtake.watch('abc', atOnce)), {reason: 'BLOCK_NOT_KEPT', status: 410});
  assert.equal(blocks.length, 2);
});

test('the first connection is not tried again', async () => {
  const {longtake, blocks} = clientOf(() => { throw new TypeError('fetch failed'); });
  await assert.rejects(collect(longtake.watch('abc', atOnce)), {reason: 'CONNECTION_FAILED'});
  assert.equal(blocks.length, 1);
});

test('attempts are counted while nothing new comes, and waits grow', async () => {
  const {longtake, blocks} = clientOf((from) => body(encode(fromBlock(log, from)), {limit: 600}));
  const asked = [];
  const options = {attempts: 4, backoff: (attempt) => { asked.push(attempt); return 0; }};
  const lost = {reason: 'CONNECTION_FAILED', message: 'the connection broke off'};
  await assert.rejects(collect(longtake.watch('abc', options)), lost);
  assert.deepEqual(asked, [1, 2, 3, 4]);
  assert.equal(blocks.length, 5);
});

test('the wait is as long as the server asks for, and an abort ends it', async () => {
  const aborter = new AbortController();
  const reason = new Error('enough');
  const later = () => refusal(503, 'SHUTTING_DOWN', {'Retry-After': '3600'});
  const {longtake} = clientOf((_, n) => (n === 0 ? body(encode(log), {limit: 500}) : later()));
  const waits = [];
  const onDisconnect = (_, seconds) => {
    waits.push(seconds);
    if (seconds > 0) aborter.abort(reason);
  };
  const events = longtake.watch('abc', {...atOnce, signal: aborter.signal, onDisconnect});
  await assert.rejects(collect(events), (thrown) => thrown === reason);
  assert.deepEqual(waits, [0, 3600]);
});

test('what is not asked for is not read', async () => {
  const bytes = encode(log);
  const first = encode(log.slice(0, 1)).length;
  let read = 0;
  const pieces = new ReadableStream({pull: (controller) => controller.enqueue(bytes.slice(read, ++read))}, {highWaterMark: 0});
  const {longtake} = clientOf(() => pieces);
  const events = longtake.watch('abc');
  assert.deepEqual((await events.next()).value, log[0]);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(read, first);
  await events.return();
});

test('garbage is an error and not asked for again', async () => {
  const {longtake, blocks} = clientOf(() => body(new TextEncoder().encode('<html>\n')));
  await assert.rejects(collect(longtake.watch('abc', atOnce)), {reason: 'UNEXPECTED_ANSWER'});
  assert.equal(blocks.length, 1);
});
