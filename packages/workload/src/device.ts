/**
 * What a role's process computes on, probed when it starts: a role without its device fails before it fetches a model, and
 * never computes on the CPU instead.
 */
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { cpuName, type Device, probeDevice } from "@oarlock/ort";
import { type ResolvedRun, rewardsOf } from "@oarlock/runfile";
import { engineOf } from "./engines.ts";

/** The three roles of a run. */
export type Role = "actor" | "reward" | "learner";

/** Probes it. @throws OarlockError `DEVICE_MISSING` where the plan's provider cannot be used here. */
export async function deviceOf(run: ResolvedRun, role: Role): Promise<Device> {
  if (role === "reward" && !scoresWithModels(run))
    return { provider: "cpu", device: cpuName(), driver: `Node.js ${process.version}` };
  try {
    return (await probeDevice(engineOf(run, 1))).device;
  } catch (cause) {
    if (!isOarlockError(cause, "ORT_PROVIDER_MISSING")) throw cause;
    const { provider } = run.spec.compute;
    throw new OarlockError(
      "DEVICE_MISSING",
      `the ${role} computes on '${provider}' and finds no such device; accepted: a machine that has one, or compute.provider: cpu`,
      { cause },
    );
  }
}

/** Whether reward workers load models: verifiers, functions and services elsewhere need no engine. */
function scoresWithModels({ spec }: ResolvedRun): boolean {
  return rewardsOf(spec).some(({ type }) => type === "model" || type === "ensemble");
}
