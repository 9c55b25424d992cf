import {LongtakeError} from './errors.js';

export interface LongtakeOptions {
  /** Where the server's HTTP port is, with the path before `v1/` if there is one. Without it: the page's own origin. */
  url?: string | URL | undefined;
  /** For servers that ask who calls. A function is called before each request, so that it can renew the token. */
  token?: string | (() => string | Promise<string>) | undefined;
  /** In place of the global one: for proxies, for tests. */
  fetch?: typeof fetch | undefined;
}

export interface CallOptions {
  /** Ends the call; it then fails with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** A video, or its id, or the name that gRPC has for it: `videos/` and the id. */
export type VideoRef = string | {readonly id: string};

export function idOf(video: VideoRef): string {
  const id = typeof video === 'string' ? video.replace(/^videos\//, '') : video.id;
  return encodeURIComponent(id);
}

export interface Outgoing extends CallOptions {
  body?: object | undefined;
  query?: Record<string, string | number | undefined> | undefined;
}

/** Sends requests to one server. */
export class Http {
  readonly hasToken: boolean;
  readonly #base: string;
  readonly #token: () => string | undefined | Promise<string>;
  readonly #fetch: typeof fetch;

  constructor({url = globalThis.location?.origin, token, fetch: fetchInstead}: LongtakeOptions) {
    if (url === undefined) throw new TypeError('url: is missing; only a page has a default for it');
    this.#base = `${String(url).replace(/\/+$/, '')}/v1/`;
    this.hasToken = token !== undefined;
    this.#token = typeof token === 'function' ? token : () => token;
    this.#fetch = fetchInstead ?? ((...request) => fetch(...request));
  }

  url(path: string, query: Outgoing['query'] = {}): string {
    const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
    return this.#base + path + (given.length > 0 ? `?${new URLSearchParams(given)}` : '');
  }

  /** The answer, if it is a success. */
  async open(verb: string, path: string, {body, query, signal}: Outgoing): Promise<Response> {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const token = await this.#token();
    if (token !== undefined) headers['Authorization'] = `Bearer ${token}`;
    const url = this.url(path, query);
    const init: RequestInit = {method: verb, headers, signal: signal ?? null, body: body ? JSON.stringify(body) : null};
    const response = await connected(this.#fetch(url, init), `no answer from ${url}`, signal);
    if (!response.ok) throw await LongtakeError.of(response);
    return response;
  }

  async call<Answer>(verb: string, path: string, outgoing: Outgoing): Promise<Answer> {
    const response = await this.open(verb, path, outgoing);
    const text = await connected(response.text(), 'the answer broke off', outgoing.signal);
    return parsed(text) as Answer;
  }
}

/** What has come, or a LongtakeError where the connection failed, or the signal's reason where it was aborted. */
export async function connected<Value>(coming: Promise<Value>, what: string, signal?: AbortSignal): Promise<Value> {
  try {
    return await coming;
  } catch (cause) {
    signal?.throwIfAborted();
    throw new LongtakeError('CONNECTION_FAILED', what, {cause});
  }
}

export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LongtakeError('UNEXPECTED_ANSWER', `this is not JSON: ${text.slice(0, 200)}`, {cause});
  }
}
