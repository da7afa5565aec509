/** Ctrl-C, twice: the first drains the run to a checkpoint, the second ends the process at once. */
import { setMaxListeners } from "node:events";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { EXIT } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

/** One key press may arrive twice: from the terminal, and forwarded by the launcher. */
const SAME_PRESS_MS = 300;

/** Code of what a wait throws that the first signal ended. */
const INTERRUPTED = "INTERRUPTED";

/** Whether a signal is at the root of a failure: then nothing is a bug, and the exit code says so. */
export function isInterruption(reason: unknown): boolean {
  if (isOarlockError(reason, INTERRUPTED)) return true;
  return reason instanceof Error && reason.cause !== undefined && isInterruption(reason.cause);
}

export interface Interrupt extends Disposable {
  readonly signal: AbortSignal;
}

/** Listens until disposed. `hint` tells the user what the first signal starts. */
export function listenForInterrupt(terminal: Terminal, hint: string): Interrupt {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal); // every request in flight listens: as many as there are prompts
  let firstMs: number | undefined;
  const onSignal = () => {
    const nowMs = performance.now();
    if (firstMs !== undefined && nowMs - firstMs < SAME_PRESS_MS) return;
    if (firstMs !== undefined) process.exit(EXIT.interrupted);
    firstMs = nowMs;
    terminal.note(hint);
    controller.abort(new OarlockError(INTERRUPTED, "stopped by a signal"));
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
