export { startLocalRun } from "./start.ts";
export type { LocalRun, LocalRunOptions, RunEvent, RunOutcome } from "./types.ts";
