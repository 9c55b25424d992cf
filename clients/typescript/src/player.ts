import type {Longtake} from './client.js';
import {LongtakeError} from './errors.js';
import {Feed, mediaSource} from './feed.js';
import type {Video, WatchEvent} from './generated/api.js';
import type {VideoRef} from './http.js';
import {Pace} from './pace.js';
import {Reporter} from './reporter.js';
import {Seen} from './seen.js';
import {next, pause} from './wait.js';
import type {WatchOptions} from './watch.js';

// No more is read while so much is buffered ahead of the picture; the server then sees a full connection.
const AHEAD_SECONDS = 30;
const HLS = 'application/vnd.apple.mpegurl';

export interface PlayOptions extends Pick<WatchOptions, 'signal' | 'attempts' | 'backoff' | 'onDisconnect'> {
  /** Where the picture begins; 0 without it. */
  from?: number | undefined;
  /** Is told each event of the video as it is read, once; not chunks that were jumped over. With HLS there are none. */
  onEvent?: ((event: WatchEvent) => void) | undefined;
}

/** Plays a video in an element while it is made and afterwards. The element's own attributes say whether it plays by itself. */
export function play(longtake: Longtake, video: VideoRef, element: HTMLVideoElement, options: PlayOptions = {}): Player {
  return new Player(longtake, video, element, options);
}

/** A video in an element. Made by `play`. */
export class Player {
  /**
   * Resolves when all of the video is made and read, or the player was stopped. Rejects with a LongtakeError where the
   * video was not made to its end (what was made by then plays all the same) or cannot be played.
   */
  readonly finished: Promise<void>;

  readonly #longtake: Longtake;
  readonly #video: VideoRef;
  readonly #element: HTMLVideoElement;
  readonly #options: PlayOptions;
  readonly #stopped = new AbortController();  // Ends everything of this player.
  readonly #seen = new Seen(0);
  #about!: Video;
  #feed: Promise<Feed> | undefined;
  #pace: Pace | undefined;
  #read: {end: number; over: AbortController} | undefined;  // What is read now, and to where in seconds of the video.

  constructor(longtake: Longtake, video: VideoRef, element: HTMLVideoElement, options: PlayOptions) {
    [this.#longtake, this.#video, this.#element, this.#options] = [longtake, video, element, options];
    options.signal?.addEventListener('abort', () => this.stop(), {signal: this.#stopped.signal});
    if (options.signal?.aborted) this.stop();
    this.finished = this.#run().catch((error) => {
      if (!this.#stopped.signal.aborted) throw error;
    });
  }

  /** Empties the element. */
  stop(): void {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    this.#pace?.release();
    this.#element.removeAttribute('src');
    this.#element.load();
  }

  async #run(): Promise<void> {
    const {signal} = this.#stopped;
    this.#about = await this.#longtake.get(this.#video, {signal});
    if (mediaSource() === undefined) return this.#playHls();
    const reporter = new Reporter(this.#longtake, this.#about, this.#element, () => this.#read !== undefined, signal);
    const pace = (this.#pace = new Pace(this.#element, this.#about.blocks));
    this.#element.addEventListener('waiting', () => pace.onWaiting(), {signal});
    for (const name of ['canplay', 'seeked']) this.#element.addEventListener(name, () => pace.decide(), {signal});
    const from = this.#options.from ?? 0;
    return new Promise((resolve, reject) => {
      const readFrom = (seconds: number) => {
        this.#readFrom(seconds, reporter.viewerId).then((isWhole) => isWhole && resolve(), reject);
      };
      this.#element.addEventListener('seeking', () => {
        if (!this.#comes(this.#element.currentTime)) readFrom(this.#element.currentTime);
      }, {signal});
      signal.addEventListener('abort', () => resolve(), {once: true});
      readFrom(from);
    });
  }

  /** Whether this moment is in the buffer, or will soon be without anything being done for it. */
  #comes(seconds: number): boolean {
    const {buffered} = this.#element;
    for (let i = 0; i < buffered.length; ++i) if (buffered.start(i) <= seconds && seconds <= buffered.end(i)) return true;
    return this.#read !== undefined && this.#read.end <= seconds && seconds <= this.#read.end + AHEAD_SECONDS;
  }

  /** Reads the video from the block at this moment to its end. False: another moment is read instead. */
  async #readFrom(seconds: number, viewerId: string): Promise<boolean> {
    this.#read?.over.abort();
    const index = Math.max(0, this.#about.blocks.filter((block) => block.start <= seconds + 0.001).length - 1);
    const read = (this.#read = {end: this.#about.blocks[index]?.start ?? 0, over: new AbortController()});
    const {signal} = read.over;
    this.#pace?.onRead();
    this.#stopped.signal.addEventListener('abort', () => read.over.abort(), {signal});
    try {
      const {attempts, backoff, onDisconnect} = this.#options;
      const options = {fromBlock: index, viewerId, signal, attempts, backoff, onDisconnect};
      for await (const event of this.#longtake.watch(this.#about, options)) {
        await this.#take(event, seconds, signal);
        if (this.#seen.add(event)) this.#options.onEvent?.(event);
        if (event.event !== 'chunk') continue;
        read.end = event.start + event.seconds;
        this.#pace?.onChunk(event.start, event.seconds);
        while ((this.#pace?.ahead ?? 0) > AHEAD_SECONDS) await next(this.#element, ['timeupdate', 'seeking'], signal);
      }
      await this.#end(read.end, signal);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      await this.#end(read.end, signal).catch(() => {});  // Of two errors the first says more.
      throw error;
    } finally {
      if (this.#read === read) this.#read = undefined;
    }
  }

  /** Puts what came into the element. */
  async #take(event: WatchEvent, from: number, signal: AbortSignal): Promise<void> {
    if (event.event === 'accepted') {
      this.#feed ??= this.#open(event.media_type);
      await this.#feed;
    } else if (event.event === 'init_segment') {
      await (await this.#feed)?.append(event.data, signal);
      if (this.#element.currentTime < from) this.#element.currentTime = from;
    } else if (event.event === 'chunk') {
      await (await this.#feed)?.append(event.data, signal);
    }
  }

  async #open(mediaType: string): Promise<Feed> {
    const total = this.#about.blocks.reduce((sum, block) => sum + block.seconds, 0);
    const feed = await Feed.open(this.#element, mediaType, total, this.#stopped.signal);
    this.#pace?.hold();  // Not before, for a new source has the default rate.
    return feed;
  }

  async #end(seconds: number, signal: AbortSignal): Promise<void> {
    await (await this.#feed)?.end(signal);
    this.#pace?.onEnd(seconds);
  }

  /** The browser reads the playlist itself; of the video it is only asked how far it is. */
  async #playHls(): Promise<void> {
    const {signal} = this.#stopped;
    if (!this.#element.canPlayType(HLS)) {
      throw new LongtakeError('CANNOT_PLAY', 'this browser has neither Media Source Extensions nor HLS');
    }
    if (this.#longtake.hasToken) {
      throw new LongtakeError('CANNOT_PLAY', 'this browser plays HLS only, whose requests cannot carry a token');
    }
    for (let isSet = false; ; await pause(1, signal)) {
      const video = await this.#longtake.get(this.#about, {signal});
      if (!isSet && video.made_blocks > 0) {
        isSet = true;
        this.#element.src = this.#longtake.hlsUrl(video);
        // Chromium's player seeks when it begins after a pause, and gives up where it has read all of a playlist that grows.
        if (this.#element.autoplay) this.#element.play().catch(() => {});
        // Players begin a playlist that grows near its end.
        const from = this.#options.from ?? 0;
        const begin = () => { if (Math.abs(this.#element.currentTime - from) > 0.5) this.#element.currentTime = from; };
        this.#element.addEventListener('loadedmetadata', begin, {once: true, signal});
      }
      if (video.error !== null) throw new LongtakeError(video.error.code, video.error.message);
      if (video.status === 'completed') return;
    }
  }
}
