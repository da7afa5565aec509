/** The actor as a process of its own; `bin/oarlock-actor.cjs` starts it. */
import { processEnvironment } from "@oarlock/runtime";
import { readServiceConfig, runServiceProcess } from "@oarlock/workload";
import { openActor } from "./open.ts";

/** Runs an actor by the process's environment; gives the exit code. */
export async function main(): Promise<number> {
  const environment = processEnvironment();
  const config = readServiceConfig(environment, "actor");
  return runServiceProcess(environment, { ...config, role: "actor" }, ({ security, ...parts }) =>
    openActor({ ...parts, config: { ...config, security } }),
  );
}
