/** The controller of TrainingRuns. */
export { startController } from "./main.ts";
export type { ControllerParts, RunningController } from "./main.ts";
export { readControllerConfig } from "./config.ts";
export type { ControllerConfig } from "./config.ts";
export type { Cleaner, RunController } from "./controller.ts";
export { main } from "./process.ts";
export { certificateOf } from "./tls/given-secret.ts";
