/** For those who wait until something that they look at themselves has changed. It does not know what. */

export interface Wakeup {
  /** Wakes everyone who waits now. */
  readonly wake: () => void;
  /** Resolves at the next `wake`, and when the signal aborts: look again, and at the signal, too. */
  readonly changed: (signal?: AbortSignal) => Promise<void>;
}

export function createWakeup(): Wakeup {
  const waiting = new Set<() => void>();
  return {
    wake() {
      const woken = [...waiting];
      waiting.clear();
      for (const resolve of woken) resolve();
    },
    async changed(signal) {
      if (signal?.aborted === true) return;
      let resolve: () => void = () => undefined;
      const woken = new Promise<void>((done) => (resolve = done));
      waiting.add(resolve);
      signal?.addEventListener("abort", resolve, { once: true });
      await woken;
      waiting.delete(resolve);
      signal?.removeEventListener("abort", resolve);
    },
  };
}
