// What the page asks the server for, and what it keeps itself: the list of recent videos.
import {spell} from './dom.js';

export class ApiError extends Error {
  constructor(message, status, {retryAfter = 0, code = ''} = {}) {
    super(message);
    this.status = status;  // 0: there was no answer.
    this.retryAfter = retryAfter;
    this.code = code;      // The reason's name, as in errors.proto; empty: there is none.
  }
}

export async function request(path, {body, method = body ? 'POST' : 'GET', signal, keepalive} = {}) {
  const headers = body ? {'Content-Type': 'application/json'} : {};
  let response;
  try {
    response = await fetch(`v1/${path}`, {method, headers, body: body && JSON.stringify(body), signal, keepalive});
  } catch (error) {
    throw signal?.aborted ? error : new ApiError('The server does not answer. Try again in a moment.', 0);
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const retryAfter = Number(response.headers.get('Retry-After')) || 0;
  let message = told.error?.message || `The server answers with status ${response.status}.`;
  if (retryAfter) message = `The server is busy. Try again in ${spell(retryAfter)}.`;
  throw new ApiError(message.charAt(0).toUpperCase() + message.slice(1), response.status, {retryAfter, code: told.error?.code});
}

export async function call(path, options) {
  const response = await request(path, options);
  return response.json().catch(() => ({}));  // A deletion may be answered without a body.
}

// Reads the messages of a watch: a line of JSON, then as many bytes as its "bytes" says.
export class MessageReader {
  constructor(stream) {
    this.reader = stream.getReader();
    this.bytes = new Uint8Array(0);
  }

  async fill() {
    const {done, value} = await this.reader.read();
    if (done) return false;
    const joined = new Uint8Array(this.bytes.length + value.length);
    joined.set(this.bytes);
    joined.set(value, this.bytes.length);
    this.bytes = joined;
    return true;
  }

  async next() {  // Null where the stream ends.
    let end;
    while ((end = this.bytes.indexOf(10)) < 0) if (!(await this.fill())) return null;
    const message = JSON.parse(new TextDecoder().decode(this.bytes.subarray(0, end)));
    const next = end + 1 + (message.bytes ?? 0);
    while (this.bytes.length < next) if (!(await this.fill())) return null;
    message.data = this.bytes.slice(end + 1, next);
    this.bytes = this.bytes.subarray(next);
    return message;
  }
}

// Recent videos: [{id, prompt, seconds, position, picture, prompts}], the newest first.

export const recents = {
  all() {
    try { return JSON.parse(localStorage.getItem('longtake.recent')) ?? []; } catch { return []; }
  },
  get: (id) => recents.all().find((entry) => entry.id === id) ?? {},
  put(list) {
    try { localStorage.setItem('longtake.recent', JSON.stringify(list.slice(0, 24))); } catch { /* Full or forbidden. */ }
  },
  update(id, fields) {
    const list = recents.all();
    const entry = list.find((other) => other.id === id);
    if (entry) Object.assign(entry, fields); else list.unshift({id, ...fields});
    recents.put(list);
  },
  remove: (id) => recents.put(recents.all().filter((entry) => entry.id !== id)),
};
