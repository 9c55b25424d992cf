// A client of Longtake's HTTP port, for browsers and Node.
export {Longtake} from './client.js';
export {LongtakeError} from './errors.js';
export type {ErrorDetails, Reason} from './errors.js';
export * from './generated/api.js';
export type {CallOptions, LongtakeOptions, VideoRef} from './http.js';
export {play, Player} from './player.js';
export type {PlayOptions} from './player.js';
export type {WatchOptions} from './watch.js';
