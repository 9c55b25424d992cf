import {LongtakeError} from './errors.js';
import type {ListQuery, ListedVideo, WatchEvent} from './generated/api.js';
import {Methods} from './generated/methods.js';
import {Http, idOf} from './http.js';
import type {CallOptions, LongtakeOptions, Outgoing, VideoRef} from './http.js';
import {watchEvents} from './watch.js';
import type {WatchOptions} from './watch.js';

/** A Longtake server, as its HTTP port shows it. */
export class Longtake extends Methods {
  readonly #http: Http;

  constructor(options: LongtakeOptions = {}) {
    super();
    this.#http = new Http(options);
  }

  protected override call<Answer>(verb: string, path: string, outgoing: Outgoing): Promise<Answer> {
    return this.#http.call(verb, path, outgoing);
  }

  /**
   * The events of a video from a block on, while it is made and afterwards, up to `finished`. A lost connection is taken
   * up again: no event is left out but `waiting` and `progress`, of which there is only the newest, and none comes twice.
   * Fails with why the video was not made, where it was not. What the caller has not asked for is not read ahead.
   */
  watch(video: VideoRef, options: WatchOptions = {}): AsyncGenerator<WatchEvent, void, undefined> {
    return watchEvents(this.#http, `videos/${idOf(video)}`, options);
  }

  /** The caller's videos, the newest first, page after page. */
  async *listAll({after, limit}: ListQuery = {}, options: CallOptions = {}): AsyncGenerator<ListedVideo, void, undefined> {
    for (let next = after; ; ) {
      const page = await this.list({...(next && {after: next}), ...(limit && {limit})}, options);
      yield* page.data;
      if (!page.has_more) return;
      next = page.next;
    }
  }

  /**
   * One MP4 that grows while the video is made and plays meanwhile. Reading it fails where the video does, or the
   * connection is lost: it is then not whole.
   */
  async stream(video: VideoRef, options: CallOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const {body} = await this.#http.open('GET', `videos/${idOf(video)}/stream.mp4`, options);
    if (body === null) throw new LongtakeError('UNEXPECTED_ANSWER', 'a stream without a body');
    return body;
  }

  /** The address of that MP4, for players and downloads, from servers that ask nobody who they are. */
  streamUrl(video: VideoRef): string {
    return this.#http.url(`videos/${idOf(video)}/stream.mp4`);
  }

  /** The address of the HLS playlist, which is there once the first block is made; from servers that ask nobody who they are. */
  hlsUrl(video: VideoRef): string {
    return this.#http.url(`videos/${idOf(video)}/index.m3u8`);
  }

  /** Whether calls carry a token, which addresses cannot. */
  get hasToken(): boolean {
    return this.#http.hasToken;
  }
}
