export { startActor } from "./main.ts";
export type { ActorParts, RunningActor } from "./main.ts";
export { readActorConfig } from "./config.ts";
export type { ActorConfig } from "./config.ts";
export { openActor } from "./open.ts";
export type { OpenActorParts } from "./open.ts";
