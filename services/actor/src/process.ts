/** The actor as a process of its own; `bin/oarlock-actor.cjs` starts it. */
import { processEnvironment } from "@oarlock/runtime";
import { runServiceProcess } from "@oarlock/workload";
import { readActorConfig } from "./config.ts";
import { openActor } from "./open.ts";

/** Runs an actor by the process's environment; gives the exit code. */
export async function main(): Promise<number> {
  const environment = processEnvironment();
  const config = readActorConfig(environment);
  return runServiceProcess(environment, config, ({ security, ...parts }) =>
    openActor({ ...parts, config: { ...config, security } }),
  );
}
