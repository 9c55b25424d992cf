import {LongtakeError} from './errors.js';
import {connected, parsed} from './http.js';

/** A message of a watch; `data` where media came with it. */
export interface Message {
  event: string;
  data?: Uint8Array;
}

/** Reads the messages of a watch: each is a line of JSON, and behind it as many bytes of media as its `bytes` says. */
export async function* readMessages(response: Response, signal?: AbortSignal): AsyncGenerator<Message, void, undefined> {
  if (response.body === null) throw new LongtakeError('UNEXPECTED_ANSWER', 'a watch without a body');
  const reader = response.body.getReader();
  const bytes = new Bytes(reader, signal);
  try {
    for (let line; (line = await bytes.line()) !== undefined; ) {
      const {bytes: size, ...message} = parsed(line) as Message & {bytes?: number};
      if (size !== undefined) message.data = await bytes.take(size);
      yield message;
    }
  } finally {
    await reader.cancel().catch(() => {});  // It may have failed already.
  }
}

/** Takes lines and lengths of bytes out of pieces that come as the network likes; each byte is copied once. */
class Bytes {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #signal: AbortSignal | undefined;
  #piece = new Uint8Array(0);  // What has come and was not taken.

  constructor(reader: ReadableStreamDefaultReader<Uint8Array>, signal: AbortSignal | undefined) {
    this.#reader = reader;
    this.#signal = signal;
  }

  /** Waits for more where nothing is left. False: that was all. */
  async #fill(): Promise<boolean> {
    while (this.#piece.length === 0) {
      const {done, value} = await connected(this.#reader.read(), 'the connection broke off', this.#signal);
      if (done) return false;
      this.#piece = value;
    }
    return true;
  }

  #cut(size: number): Uint8Array {
    const taken = this.#piece.subarray(0, size);
    this.#piece = this.#piece.subarray(size);
    return taken;
  }

  /** Without its end; undefined where the stream ends before it begins. */
  async line(): Promise<string | undefined> {
    const decoder = new TextDecoder();
    for (let line = ''; await this.#fill(); ) {
      const end = this.#piece.indexOf(10);
      if (end >= 0) {
        line += decoder.decode(this.#cut(end));
        this.#cut(1);
        return line;
      }
      line += decoder.decode(this.#cut(this.#piece.length), {stream: true});
    }
    return undefined;
  }

  async take(size: number): Promise<Uint8Array> {
    const taken = new Uint8Array(size);
    for (let at = 0; at < size; ) {
      if (!(await this.#fill())) throw new LongtakeError('CONNECTION_FAILED', 'the connection ended within a message');
      const part = this.#cut(size - at);
      taken.set(part, at);
      at += part.length;
    }
    return taken;
  }
}
