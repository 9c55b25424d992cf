import {LongtakeError} from './errors.js';
import {next} from './wait.js';

const BEHIND_SECONDS = 20;  // What is older than this leaves the buffer; going back further reads it again.

/** The Media Source that this browser has. Phones of one maker have the managed one only. */
export function mediaSource(): typeof MediaSource | undefined {
  return globalThis.MediaSource ?? (globalThis as {ManagedMediaSource?: typeof MediaSource}).ManagedMediaSource;
}

/** Puts a video's segments into an element, one after the other. */
export class Feed {
  readonly #element: HTMLVideoElement;
  readonly #source: MediaSource;
  readonly #buffer: SourceBuffer;

  private constructor(element: HTMLVideoElement, source: MediaSource, mediaType: string) {
    this.#element = element;
    this.#source = source;
    this.#buffer = source.addSourceBuffer(mediaType);
  }

  static async open(element: HTMLVideoElement, mediaType: string, seconds: number, signal: AbortSignal): Promise<Feed> {
    const Source = mediaSource();
    if (!Source?.isTypeSupported(mediaType)) throw new LongtakeError('CANNOT_PLAY', `this browser cannot play ${mediaType}`);
    const source = new Source();
    const url = URL.createObjectURL(source);
    element.disableRemotePlayback = true;  // Else a managed source does not open.
    element.src = url;
    await next(source, ['sourceopen'], signal);
    URL.revokeObjectURL(url);
    const feed = new Feed(element, source, mediaType);
    source.duration = seconds;
    return feed;
  }

  /** Resolves when the data is in the buffer, which has room once what comes before it has been played. */
  async append(data: Uint8Array, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#idle(signal);
      const {buffered} = this.#buffer;
      const past = this.#element.currentTime - BEHIND_SECONDS;
      if (buffered.length > 0 && buffered.start(0) < past - 5) {  // Not each time for a little.
        this.#buffer.remove(0, past);
        continue;
      }
      try {
        this.#buffer.appendBuffer(data);
        break;
      } catch (error) {
        if (!(error instanceof DOMException && error.name === 'QuotaExceededError')) throw this.#failure(error);
        await next(this.#element, ['timeupdate', 'seeking'], signal);
      }
    }
    await this.#idle(signal);
    if (this.#element.error !== null) throw this.#failure();
  }

  /** Nothing comes after what was appended. */
  async end(signal: AbortSignal): Promise<void> {
    await this.#idle(signal);
    if (this.#source.readyState === 'open') this.#source.endOfStream();
  }

  async #idle(signal: AbortSignal): Promise<void> {
    while (this.#buffer.updating) await next(this.#buffer, ['updateend'], signal);
  }

  #failure(cause?: unknown): LongtakeError {
    const why = this.#element.error?.message || String(cause ?? 'the browser does not say why');
    return new LongtakeError('CANNOT_PLAY', `the browser cannot play it: ${why}`, {cause});
  }
}
