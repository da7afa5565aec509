export { startActor } from "./main.ts";
export type { ActorParts, RunningActor } from "./main.ts";
export { ACTOR_INSTRUMENTS } from "./metrics.ts";
export { openActor } from "./open.ts";
export type { OpenActorParts } from "./open.ts";
