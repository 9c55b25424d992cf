import type {Longtake} from './client.js';
import type {VideoRef} from './http.js';

/** Tells the server how far the viewer has played, so that it makes in time what is needed next and nothing in vain. */
export class Reporter {
  readonly viewerId: string;
  readonly #longtake: Longtake;
  readonly #video: VideoRef;
  readonly #element: HTMLVideoElement;
  readonly #isWatching: () => boolean;
  readonly #signal: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(longtake: Longtake, video: VideoRef, element: HTMLVideoElement, isWatching: () => boolean, signal: AbortSignal) {
    [this.#longtake, this.#video, this.#element] = [longtake, video, element];
    [this.#isWatching, this.#signal] = [isWatching, signal];
    // crypto.randomUUID is for pages with TLS only.
    this.viewerId = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
    for (const name of ['playing', 'pause', 'seeked', 'waiting', 'ended']) {
      element.addEventListener(name, () => void this.#report(), {signal});
    }
    signal.addEventListener('abort', () => clearTimeout(this.#timer), {once: true});
  }

  async #report(): Promise<void> {
    clearTimeout(this.#timer);
    if (!this.#isWatching()) return;  // The server would know no such viewer.
    const {currentTime: position, paused} = this.#element;
    try {
      const report = {viewer_id: this.viewerId, position, paused};
      const {report_after_seconds: seconds} = await this.#longtake.reportPlayback(this.#video, report, {signal: this.#signal});
      clearTimeout(this.#timer);  // Another event may have reported meanwhile.
      if (!this.#signal.aborted) this.#timer = setTimeout(() => void this.#report(), 1000 * Math.max(0.5, seconds));
    } catch {
      // Without reports the server goes by what is read. The next event reports again.
    }
  }
}
