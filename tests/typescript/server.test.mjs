// The client against the server with the bundled model.
import assert from 'node:assert/strict';
import {after, before} from 'node:test';

import {Longtake, LongtakeError} from '../../clients/typescript/dist/index.js';
import {startCutter, startServer} from './real_server.mjs';
import {faults, fieldsOf, shapes} from './shapes.mjs';
import {collect, concat, test} from './wire.mjs';

let server, longtake, made;  // `made`: a video with a change of prompt, all of it made, and its events.

const media = (events) => concat(events.flatMap(({data}) => data ?? []));
const logged = (events) => events.filter(({event}) => event !== 'waiting' && event !== 'progress');
const is = (value, type) => assert.deepEqual(faults(value, type), []);
const EVENTS = {accepted: 'Accepted', init_segment: 'InitSegment', waiting: 'Waiting', progress: 'Progress',
  prompt_changed: 'PromptChanged', chunk: 'Chunk', finished: 'Finished'};

before(async () => {
  server = await startServer();
  longtake = new Longtake({url: server.url});
  const video = await longtake.create({prompt: 'a red ball bounces above the meadow', seconds: 4,
    prompt_changes: [{prompt: 'night falls', at_seconds: 2}], request_id: 'test-1'});
  made = {video, events: await collect(longtake.watch(video))};
});
after(() => server?.stop());

test('what arrives is what the types say', async () => {
  is(made.video, 'Video');
  for (const event of made.events) is(event, EVENTS[event.event]);
  const kinds = new Set(logged(made.events).map(({event}) => event));
  assert.deepEqual([...kinds], ['accepted', 'init_segment', 'prompt_changed', 'chunk', 'finished']);
  const now = await longtake.get(made.video);
  is(now, 'Video');
  assert.equal(now.status, 'completed');
  is(await longtake.models(), 'ModelList');
  is(await longtake.list({limit: 1}), 'VideoList');
  is(await longtake.quote({seconds: 3}), 'Quote');
  const fork = await longtake.fork(made.video, {from_block: 2, prompt: 'a blue star rises', seconds: 60, on_disconnect: 'pause'});
  is(fork, 'Video');
  is(await longtake.changePrompt(fork, {prompt: 'snow'}), 'Receipt');
  const cancelled = await longtake.cancel(fork);
  is(cancelled, 'Video');
  assert.equal(cancelled.status, 'cancelled');
  assert.equal(cancelled.error.code, 'VIDEO_CANCELLED');
  is(await longtake.delete(fork), 'DeletedVideo');
});

test('a value that is not of its type is found', () => {
  const [block] = made.video.blocks;
  assert.deepEqual(faults({...block, extra: 1}, 'Block'), ['Block.extra: is not in the type']);
  assert.deepEqual(faults({index: 0, start: '1'}, 'Block'), ['Block.start: is not number, but 1', 'Block.seconds: is missing']);
  assert.deepEqual(faults({...made.video, status: 'x', blocks: [{}]}, 'Video').length, 4);
});

test('the server knows every field of the requests', async () => {
  const delivery = {offline: true, adaptive: true, priority: 1, max_wait_seconds: 600, max_lead_seconds: 30,
    on_disconnect: 'pause', reconnect_seconds: 5};
  const values = {
    CreateRequest: {...delivery, prompt: 'a red ball', seconds: 2, size: '256x160', seed: 7, negative_prompt: '',
      model: 'longtake-tiny', prompt_changes: [{prompt: 'night', at_seconds: 1}], adapters: [], decoder: 'full',
      input_reference: '', request_id: 'test-2'},
    ForkRequest: {...delivery, from_block: 1, prompt: 'night', seconds: 5, prompt_changes: [{prompt: 'snow', at_seconds: 3.1}],
      request_id: 'test-3'},
  };
  for (const [type, request] of Object.entries(values)) {
    assert.deepEqual(Object.keys(request).sort(), Object.keys(fieldsOf(type)).sort());
    is(request, type);
  }
  const video = await longtake.create(values.CreateRequest);
  assert.equal(video.request_id, 'test-2');
  assert.equal((await longtake.create(values.CreateRequest)).id, video.id);
  const fork = await longtake.fork(made.video, values.ForkRequest);
  assert.deepEqual(fork.prompt_changes.map(({prompt}) => prompt), ['night', 'snow']);
  for (const each of [video, fork]) await longtake.delete(each);
});

test('the events are the video, and the same as the stream', async () => {
  const chunks = made.events.filter(({event}) => event === 'chunk');
  assert.ok(chunks.some(({prompt}) => prompt === 1));
  assert.equal(made.events.at(-1).chunks, chunks.length);
  const stream = concat(await collect(await longtake.stream(made.video)));
  assert.deepEqual(media(made.events), stream);
  const response = await fetch(longtake.streamUrl(made.video));
  assert.deepEqual(new Uint8Array(await response.arrayBuffer()), stream);
  assert.match(await (await fetch(longtake.hlsUrl(made.video))).text(), /^#EXTM3U/);
});

test('a watch over a line that breaks off has the same events', async () => {
  // The first video again, while it is made: a line holds for a block and a half, of some 50 kB.
  const cutter = await startCutter(server.port, (n) => 70_000 + 5_000 * n);
  try {
    const {prompt, seed} = made.video;
    const again = await longtake.create({prompt, seed, seconds: 4, prompt_changes: [{prompt: 'night falls', at_seconds: 2}]});
    const events = await collect(new Longtake({url: cutter.url}).watch(again, {backoff: () => 0, attempts: 3}));
    assert.ok(cutter.cuts >= 2, `${cutter.cuts} cuts`);
    const told = ([, ...others]) => logged(others);  // Without what was accepted, which has the video's name.
    assert.deepEqual(told(events), told(made.events));
    const ended = await collect(new Longtake({url: cutter.url}).watch(again, {backoff: () => 0, attempts: 3, fromBlock: 1}));
    assert.deepEqual(told(ended), told(made.events).filter(({event, block}) => event !== 'chunk' || block >= 1));
  } finally {
    cutter.stop();
  }
});

test('a video is directed, and what was cancelled can be watched', async () => {
  const video = await longtake.create({prompt: 'a red ball bounces', seconds: 60, max_lead_seconds: 2});
  const shown = new Set();
  let progress = 0, receipt;
  await assert.rejects(async () => {
    for await (const event of longtake.watch(video, {viewerId: 'me'})) {
      is(event, EVENTS[event.event]);
      if (event.event === 'progress') ++progress;
      if (event.event === 'chunk') shown.add(event.prompt);
      if (event.event === 'chunk' && receipt === undefined) {
        receipt = await longtake.changePrompt(video, {prompt: 'night falls'});
        assert.ok(receipt.block > 0 && receipt.prompt === 1);
        is(await longtake.reportPlayback(video, {viewer_id: 'me', position: 0}), 'NextReport');
      }
      // A watch that has read everything is told of progress every ten seconds at the least.
      if (shown.has(1) && progress > 0) await longtake.cancel(video);
    }
  }, {reason: 'VIDEO_CANCELLED', status: undefined});
  await assert.rejects(longtake.changePrompt(video, {prompt: 'x'}), {reason: 'VIDEO_ENDED', status: 409});
  const stopped = await longtake.get(`videos/${video.id}`);
  assert.deepEqual(stopped.prompt_changes.map(({prompt}) => prompt), ['night falls']);
});

test('errors have their reasons', async () => {
  const nobody = '0'.repeat(32);
  await assert.rejects(longtake.get(nobody), {reason: 'VIDEO_NOT_FOUND', status: 404});
  await assert.rejects(collect(longtake.watch(nobody)), {reason: 'VIDEO_NOT_FOUND', status: 404});
  await assert.rejects(longtake.create({prompt: 'x', seconds: -1}), {reason: 'INVALID_REQUEST', status: 400, param: 'seconds'});
  await assert.rejects(longtake.create({prompt: 'x', colour: 'red'}), {reason: 'INVALID_REQUEST', param: 'colour'});
  await assert.rejects(collect(longtake.watch(made.video, {fromBlock: 99})), {param: 'from_block'});
  await assert.rejects(longtake.reportPlayback(made.video, {viewer_id: 'nobody', position: 0}), (thrown) => {
    assert.ok(thrown instanceof LongtakeError);
    assert.ok(shapes.ErrorReason.values.includes(thrown.reason));
    return thrown.reason === 'VIEWER_NOT_FOUND';
  });
});

test('all videos are listed, page after page', async () => {
  const ids = (await collect(longtake.listAll({limit: 1}))).map(({id}) => id);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(ids, (await longtake.list()).data.map(({id}) => id));
  assert.ok(ids.includes(made.video.id));
});
