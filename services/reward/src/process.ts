/** The reward worker as a process of its own; `bin/oarlock-reward.cjs` starts it. */
import { processEnvironment } from "@oarlock/runtime";
import { runServiceProcess } from "@oarlock/workload";
import { readRewardConfig } from "./config.ts";
import { openReward } from "./open.ts";

/** Runs a reward worker by the process's environment; gives the exit code. */
export async function main(): Promise<number> {
  const environment = processEnvironment();
  const config = readRewardConfig(environment);
  return runServiceProcess(environment, config, ({ security, ...parts }) =>
    openReward({ ...parts, config: { ...config, security } }),
  );
}
