/** The reward worker as a process of its own; `bin/oarlock-reward.cjs` starts it. */
import { processEnvironment } from "@oarlock/runtime";
import { readServiceConfig, runServiceProcess } from "@oarlock/workload";
import { openReward } from "./open.ts";

/** Runs a reward worker by the process's environment; gives the exit code. */
export async function main(): Promise<number> {
  const environment = processEnvironment();
  const config = readServiceConfig(environment, "reward");
  return runServiceProcess(environment, { ...config, role: "reward" }, ({ security, ...parts }) =>
    openReward({ ...parts, config: { ...config, security } }),
  );
}
