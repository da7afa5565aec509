/** What every command is given: where to write, the time, and a way to set the exit code. */
import type { ExitCode } from "./exit-codes.ts";
import type { Terminal } from "./terminal.ts";

export interface CommandContext {
  readonly terminal: Terminal;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** Sets the exit code; without a call it is 0. */
  readonly exit: (code: ExitCode) => void;
}
