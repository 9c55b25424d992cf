import type {WatchEvent} from './generated/api.js';

/**
 * Which events of a video have come. A watch that is taken up again begins at a block: with the video's acceptance, its
 * init segment and its prompts, and with chunks of that block which may have come before.
 */
export class Seen {
  readonly #once = new Set<string>();
  #block: number;     // Of the newest chunk; before there is one, the first that is wanted.
  #index = -1;        // Of it in its block.
  #isLast = false;    // In its block.
  #blocks = Infinity; // Of the video, once that is known.
  #latest = '';       // The newest of those that tell how things stand.

  constructor(fromBlock: number) {
    this.#block = fromBlock;
  }

  /** The block with which to go on. A video ends with its last one, so there is none behind it to ask for. */
  get nextBlock(): number {
    return this.#isLast && this.#block + 1 < this.#blocks ? this.#block + 1 : this.#block;
  }

  /** Whether the event has not come before. One that this client does not know counts as one that has. */
  add(event: WatchEvent): boolean {
    switch (event.event) {
      case 'accepted':
        this.#blocks = event.video.blocks.length;
        return this.#addOnce(event.event);
      case 'init_segment':
      case 'finished':
        return this.#addOnce(event.event);
      case 'prompt_changed':
        return this.#addOnce(`prompt ${event.prompt}`);
      case 'waiting':
      case 'progress':
        return this.#addLatest(JSON.stringify(event));
      case 'chunk':
        if (event.block < this.#block || (event.block === this.#block && event.index <= this.#index)) return false;
        [this.#block, this.#index, this.#isLast] = [event.block, event.index, event.last_in_block];
        return true;
      default:
        return false;
    }
  }

  #addOnce(key: string): boolean {
    const isNew = !this.#once.has(key);
    this.#once.add(key);
    return isNew;
  }

  /** Where nothing happens the server repeats the newest one every 10 s. */
  #addLatest(text: string): boolean {
    const isNew = text !== this.#latest;
    this.#latest = text;
    return isNew;
  }
}
