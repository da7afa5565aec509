/** Whether services have work in hand: the moment to kill one. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ActorService, RewardService } from "@oarlock/proto";
import { openChannel } from "@oarlock/rpc";
import type { DisturbedRun } from "./disturbed-run.ts";

const ASK = { timeoutMs: 500 };

/** Whether an actor decodes sequences now. */
export async function isGenerating(run: DisturbedRun, instance: string): Promise<boolean> {
  const { address } = run.child(instance);
  if (address === undefined) return false;
  using channel = openChannel(address);
  // It may die by another hand while it is asked.
  const status = await channel
    .client(ActorService)
    .getStatus({}, ASK)
    .catch(() => undefined);
  return (status?.slotsBusy ?? 0) > 0;
}

/** Whether a reward worker has batches in hand now. */
export async function isScoring(run: DisturbedRun, instance: string): Promise<boolean> {
  const { address } = run.child(instance);
  if (address === undefined) return false;
  using channel = openChannel(address);
  const status = await channel
    .client(RewardService)
    .getStatus({}, ASK)
    .catch(() => undefined);
  return (status?.service?.queues ?? []).some(({ depth }) => Number(depth) > 0);
}

/** Whether some incarnation has a checkpoint that is being written. */
export function isWritingCheckpoint(outDir: string): boolean {
  const folder = join(outDir, "checkpoints");
  try {
    return readdirSync(folder, { recursive: true, encoding: "utf8" }).some((name) =>
      name.includes(".writing-"),
    );
  } catch {
    return false; // not made yet, or changing under us
  }
}
