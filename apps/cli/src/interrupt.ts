/** Ctrl-C, twice: the first drains the run to a checkpoint, the second ends the process at once. */
import { EXIT } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
}

/** Listens until disposed. `hint` tells the user what the first signal starts. */
export function listenForInterrupt(terminal: Terminal, hint: string): Interrupt {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(EXIT.interrupted);
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
