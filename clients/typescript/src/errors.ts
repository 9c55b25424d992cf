import type {ErrorReason} from './generated/api.js';

/**
 * Why a call failed: what the server says, and what it cannot say itself.
 *
 * - CONNECTION_FAILED: there was no answer, or it broke off. In a page also: the server does not allow the page's origin.
 * - UNEXPECTED_ANSWER: the answer is none of a Longtake server, but of a proxy before it, perhaps.
 * - CANNOT_PLAY: the browser cannot play the video.
 */
export type Reason = ErrorReason | 'CONNECTION_FAILED' | 'UNEXPECTED_ANSWER' | 'CANNOT_PLAY';

export interface ErrorDetails {
  status?: number | undefined;
  retryAfter?: number | undefined;
  param?: string | undefined;
  cause?: unknown;
}

/** How every method of this package fails, unless its signal was aborted: then with the signal's reason, as fetch does. */
export class LongtakeError extends Error {
  override readonly name = 'LongtakeError';
  readonly reason: Reason;
  /** The answer's status; undefined where there was no answer, and of a video that ended while it was watched. */
  readonly status: number | undefined;
  /** Seconds after which to try again, where the server says so. */
  readonly retryAfter: number | undefined;
  /** The request's first field at fault. */
  readonly param: string | undefined;

  constructor(reason: Reason, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : {cause: details.cause});
    this.reason = reason;
    this.status = details.status;
    this.retryAfter = details.retryAfter;
    this.param = details.param;
  }

  /** What an answer that is no success says. */
  static async of(response: Response): Promise<LongtakeError> {
    const {status} = response;
    const text = await response.text().catch(() => '');
    const retryAfter = secondsUntil(response.headers.get('Retry-After'));
    const told = errorIn(text);
    if (told === undefined) {
      return new LongtakeError('UNEXPECTED_ANSWER', `status ${status}: ${text.slice(0, 200).trim()}`, {status, retryAfter});
    }
    return new LongtakeError(told.code, told.message, {status, retryAfter, param: told.param ?? undefined});
  }
}

interface ToldError {
  code: ErrorReason;
  message: string;
  param?: string | null;
}

function errorIn(text: string): ToldError | undefined {
  try {
    const {error} = JSON.parse(text) as {error?: Partial<ToldError>};
    return typeof error?.code === 'string' && typeof error.message === 'string' ? (error as ToldError) : undefined;
  } catch {
    return undefined;
  }
}

/** The server sends seconds; a proxy may send a date instead. */
function secondsUntil(retryAfter: string | null): number | undefined {
  if (retryAfter === null) return undefined;
  const seconds = Number(retryAfter);
  const until = Number.isNaN(seconds) ? (Date.parse(retryAfter) - Date.now()) / 1000 : seconds;
  return Number.isNaN(until) ? undefined : Math.max(0, until);
}
