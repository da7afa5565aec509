/** Ctrl-C, twice: the first drains the run to a checkpoint, the second ends the process at once. */
import { EXIT } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

/** One key press may arrive twice: from the terminal, and forwarded by the launcher. */
const SAME_PRESS_MS = 300;

export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
}

/** Listens until disposed. `hint` tells the user what the first signal starts. */
export function listenForInterrupt(terminal: Terminal, hint: string): Interrupt {
  const controller = new AbortController();
  let firstMs: number | undefined;
  const onSignal = () => {
    const nowMs = performance.now();
    if (firstMs !== undefined && nowMs - firstMs < SAME_PRESS_MS) return;
    if (firstMs !== undefined) process.exit(EXIT.interrupted);
    firstMs = nowMs;
    terminal.note(hint);
    controller.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      process.off("SIGINT", onSignal);
      process.off("SIGTERM", onSignal);
    },
  };
}
