// What a server sends, without a server: a video's log, watches of it as bytes, and answers that break off.
import {test as nodeTest} from 'node:test';

/** A test that fails where it hangs. The limit is for a machine with much else to do. */
export const test = (name, run) => nodeTest(name, {timeout: 600_000}, run);

const encoder = new TextEncoder();

export function concat(parts) {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** Events as the body of a watch. */
export const encode = (events) => concat(events.flatMap(({data, ...message}) => [
  encoder.encode(`${JSON.stringify({...message, ...(data && {bytes: data.length})})}\n`), ...(data ? [data] : []),
]));

// Media with line ends and braces in it, so that nothing but `bytes` says where it ends.
const media = (seed) => encoder.encode(`${seed}\n{"event":"finished"}\n\0`.repeat(2 + (seed % 3)));

/** The log of a video of three blocks of two chunks each, whose prompt changes at the last one. */
export function makeLog() {
  const blocks = [0, 1, 2].map((index) => ({index, start: index, seconds: 1}));
  const chunk = (block, index) => ({event: 'chunk', block, index, start: block + index / 2, seconds: 0.5, key_frame: index === 0,
    last_in_block: index === 1, prompt: block < 2 ? 0 : 1, denoise_steps: 3, decoder: 'full', data: media(10 * block + index)});
  const prompt = (number, block) => ({event: 'prompt_changed', prompt: number, block, start: block, tokens: {given: 4, used: 4}});
  return [
    {event: 'accepted', video: {id: 'abc', blocks}, media_type: 'video/mp4', quote: {start_seconds: 0, waiting: 0}},
    {event: 'init_segment', data: media(99)},
    prompt(0, 0), chunk(0, 0), chunk(0, 1), chunk(1, 0), chunk(1, 1), prompt(1, 2), chunk(2, 0), chunk(2, 1),
    {event: 'finished', frames: 48, seconds: 3, chunks: 6},
  ];
}

/** What a server sends of a log to who begins at a block. */
export const fromBlock = (log, block) => log.filter((event) => event.event !== 'chunk' || event.block >= block);

/** A body in pieces of this size that fails, or ends, behind its first `limit` bytes. */
export function body(bytes, {piece = 4096, limit = Infinity, how = 'fail'} = {}) {
  const end = Math.min(limit, bytes.length);
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < end) {
        controller.enqueue(bytes.slice(at, Math.min(at += piece, end)));
      } else if (limit < bytes.length && how === 'fail') {
        controller.error(new TypeError('terminated'));
      } else {
        controller.close();
      }
    },
  }, {highWaterMark: 0});
}

export const blockIn = (url) => Number(new URL(url).searchParams.get('from_block'));

export async function collect(events) {
  const all = [];
  for await (const event of events) all.push(event);
  return all;
}
