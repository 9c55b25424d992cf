// What the compiler must accept, and what it must not. Compiled by docs.test.mjs, never run.
import {Longtake, LongtakeError, play} from 'longtake';
import type {Chunk, CreateRequest, Reason, Video, VideoStatus, WatchEvent} from 'longtake';

const longtake = new Longtake({url: new URL('https://video.example'), token: () => 'secret'});

export async function uses(element: HTMLVideoElement, signal: AbortSignal): Promise<void> {
  const wanted: CreateRequest = {prompt: 'a', seconds: 4, size: '256x160', on_disconnect: 'pause', seed: 7,
    prompt_changes: [{prompt: 'b', at_seconds: 2}]};
  const video: Video = await longtake.create(wanted, {signal});
  const status: VideoStatus = video.status;
  const length: number = video.blocks.reduce((sum, block) => sum + block.seconds, 0) - Number(video.seconds);
  for await (const event of longtake.watch(video, {fromBlock: 1, onDisconnect: (error) => console.log(error.reason, status)})) {
    if (event.event === 'chunk') takes(event, length);
    if (event.event === 'accepted') event.video.prompt_changes.map(({block}) => block.toFixed());
  }
  for await (const listed of longtake.listAll()) await longtake.delete(listed);
  await play(longtake, video.id, element, {from: 2, signal, onEvent: (event: WatchEvent) => console.log(event.event)}).finished;

  // @ts-expect-error: without a prompt.
  await longtake.create({seconds: 3});
  // @ts-expect-error: a field that the server does not know.
  await longtake.create({prompt: 'a', colour: 'red'});
  // @ts-expect-error: no size.
  await longtake.create({prompt: 'a', size: 'large'});
  // @ts-expect-error: gRPC's word.
  await longtake.create({prompt: 'a', on_disconnect: 'DISCONNECT_POLICY_PAUSE'});
  // @ts-expect-error: no video.
  await longtake.get(7);
  // @ts-expect-error: lists do not tell the blocks.
  (await longtake.list()).data[0].blocks;
  // @ts-expect-error: no status that there is.
  if (status === 'done') return;
}

function takes(chunk: Chunk, length: number): Uint8Array {
  return chunk.start < length && chunk.last_in_block ? chunk.data : new Uint8Array(0);
}

export const reasonOf = (error: unknown): Reason | undefined => (error instanceof LongtakeError ? error.reason : undefined);
export const isFull = (error: LongtakeError) => error.reason === 'QUEUE_FULL' && (error.retryAfter ?? 0) > 0;
// @ts-expect-error: no reason that there is.
export const isTired = (error: LongtakeError) => error.reason === 'TIRED';
