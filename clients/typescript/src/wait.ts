/** Resolves after some seconds; rejects with the signal's reason when it is aborted. */
export function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(done, 1000 * seconds);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    function done() {
      signal?.removeEventListener('abort', abort);
      resolve();
    }
    signal?.addEventListener('abort', abort, {once: true});
  });
}

/** Resolves with the next event of one of these names; rejects with the signal's reason when it is aborted. */
export function next(target: EventTarget, names: readonly string[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const over = new AbortController();
    for (const name of names) target.addEventListener(name, () => settle(resolve), {signal: over.signal});
    signal.addEventListener('abort', () => settle(() => reject(signal.reason)), {signal: over.signal});
    function settle(act: () => void) {
      over.abort();
      act();
    }
  });
}
