import {LongtakeError} from './errors.js';
import type {Failure, WatchEvent} from './generated/api.js';
import type {CallOptions, Http} from './http.js';
import {readMessages} from './messages.js';
import {Seen} from './seen.js';
import {pause} from './wait.js';

export interface WatchOptions extends CallOptions {
  /** Where the media begins; 0 without it. */
  fromBlock?: number | undefined;
  /** Names this viewer in reports of playback: at most 64 of a-z, A-Z, 0-9, '.', '_' and '-'. */
  viewerId?: string | undefined;
  /** How often a lost connection is taken up again with nothing new coming; 10 without it, which is about a minute. */
  attempts?: number | undefined;
  /** Seconds before the nth of these attempts; without it 0.5, 1, 2, 4, then 8, each up to a quarter more or less. */
  backoff?: ((attempt: number) => number) | undefined;
  /** Is told when a connection was lost, and in how many seconds it is taken up again. */
  onDisconnect?: ((error: LongtakeError, seconds: number) => void) | undefined;
}

// Many viewers lose their connections at once; they do not all come back at once.
const spread = (attempt: number) => Math.min(0.5 * 2 ** (attempt - 1), 8) * (0.75 + Math.random() / 2);

/** The events of a video as Longtake.watch yields them. `path`: of the video. */
export async function* watchEvents(http: Http, path: string, options: WatchOptions): AsyncGenerator<WatchEvent, void, undefined> {
  const {fromBlock = 0, viewerId, attempts = 10, backoff = spread, signal, onDisconnect} = options;
  const seen = new Seen(fromBlock);
  let isOpen = false;  // A first connection that fails says that something is wrong, not that something was lost.
  for (let failures = 0; ; ) {
    try {
      const query = {from_block: seen.nextBlock, viewer_id: viewerId};
      const response = await http.open('GET', `${path}/watch`, {query, signal});
      isOpen = true;
      for await (const message of readMessages(response, signal)) {
        if (message.event === 'error') throw failureOf(message as unknown as Failure);
        const event = message as WatchEvent;
        const isNew = seen.add(event);
        // How things stand now is news of the connection, even where it is the same as before.
        if (isNew || event.event === 'waiting' || event.event === 'progress') failures = 0;
        if (isNew) yield event;
        if (event.event === 'finished') return;
      }
      throw new LongtakeError('CONNECTION_FAILED', 'the watch ended before its video');
    } catch (error) {
      if (!isOpen || !mayPass(error) || ++failures > attempts) throw error;
      const seconds = Math.max(backoff(failures), error.retryAfter ?? 0);
      onDisconnect?.(error, seconds);
      await pause(seconds, signal);
    }
  }
}

/** The last message of a video that was not made. */
const failureOf = ({code, message}: Failure) => new LongtakeError(code, message);

/** Whether the server, or what is between, may answer otherwise in a moment. */
function mayPass(error: unknown): error is LongtakeError {
  if (!(error instanceof LongtakeError)) return false;
  const {reason, status = 0} = error;
  return ['CONNECTION_FAILED', 'MODEL_LOADING', 'SHUTTING_DOWN'].includes(reason) || status === 429 || status >= 500;
}
