import type {Block} from './generated/api.js';

/** To where the element could play on from where it is, in seconds of the video. */
export function bufferedUntil({buffered, currentTime}: HTMLVideoElement): number {
  for (let i = 0; i < buffered.length; ++i) {
    if (buffered.start(i) <= currentTime + 0.1 && buffered.end(i) > currentTime) return buffered.end(i);
  }
  return currentTime;
}

/**
 * Holds the picture until so much is buffered that it need not stop again soon, at the beginning and after it had to wait.
 * It holds by a playback rate of 0: whether the video plays or pauses stays what the viewer says.
 */
export class Pace {
  readonly #element: HTMLVideoElement;
  readonly #total: number;
  readonly #blockSeconds: number;
  #end: number;   // Of what will be there.
  #rate = 1;      // The element's, before it was held.
  #held = false;
  #stalls = 0;
  #first: {now: number; start: number} | undefined;
  #speed: number | undefined;  // At which it comes, in seconds of video a second.

  constructor(element: HTMLVideoElement, blocks: readonly Block[]) {
    this.#element = element;
    this.#total = this.#end = blocks.reduce((total, block) => total + block.seconds, 0);
    this.#blockSeconds = blocks[0]?.seconds ?? 0;
  }

  get ahead(): number {
    return bufferedUntil(this.#element) - this.#element.currentTime;
  }

  /** Another part of the video is read from now on: how fast it comes is measured anew. */
  onRead(): void {
    this.#first = this.#speed = undefined;
  }

  /** A chunk has been buffered. */
  onChunk(start: number, seconds: number): void {
    const now = performance.now() / 1000;
    this.#first ??= {now, start};
    const elapsed = now - this.#first.now;
    if (elapsed > 0.5) this.#speed = (start + seconds - this.#first.start) / elapsed;
    this.decide();
  }

  /** The element has nothing to play. */
  onWaiting(): void {
    if (this.#element.seeking || this.#held || this.#hasEnough) return;
    ++this.#stalls;
    this.hold();
  }

  /** No more will be there than this. */
  onEnd(seconds: number): void {
    this.#end = Math.min(this.#total, seconds);
    this.decide();
  }

  decide(): void {
    if (this.#held && this.#hasEnough) this.release();
  }

  hold(): void {
    this.#rate = this.#element.playbackRate || this.#rate;
    this.#element.playbackRate = 0;
    this.#held = true;
  }

  release(): void {
    // A rate that the viewer has chosen meanwhile holds no longer.
    if (this.#held && this.#element.playbackRate === 0) this.#element.playbackRate = this.#rate;
    this.#held = false;
  }

  /** A block, and what playing will outrun the making by, up to a few seconds. */
  get #hasEnough(): boolean {
    const until = bufferedUntil(this.#element);
    if (until >= this.#end - 0.05) return true;
    const left = this.#end - until;
    const outrun = this.#speed === undefined ? 0 : left * Math.max(0, 1 / this.#speed - 1);
    const least = (this.#stalls > 0 ? 2 : 1) * this.#blockSeconds - 0.05;
    const most = Math.max(least, this.#stalls > 0 ? 6 : 4);
    return until - this.#element.currentTime >= Math.max(least, Math.min(outrun, most));
  }
}
