/** The command line as a library: `main(argv)` is what `oarlock` runs. */
export { main } from "./main.ts";
export { recordingTerminal } from "./terminal.ts";
export type { Terminal } from "./terminal.ts";
