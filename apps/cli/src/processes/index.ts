export { brokerAtHand, requireBroker } from "./broker.ts";
export { startProcessesRun } from "./start.ts";
export { type ProcessesFile, readProcesses } from "./processes-file.ts";
export type { ProcessesOptions, ProcessesOutcome, ProcessesRun } from "./start.ts";
export type { ChildFacts } from "./child.ts";
export { liveStatus, type LiveProcess } from "./live-status.ts";
