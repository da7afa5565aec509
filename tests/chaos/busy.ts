/** What services say of themselves over gRPC: whether they have work in hand (the moment to kill one), what they wait for. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ActorService, LearnerService, RewardService } from "@oarlock/proto";
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

/** The open waits of every child that answers (L1), oldest first. */
export async function openWaits(run: DisturbedRun): Promise<string[]> {
  const lines: string[] = [];
  for (const { instance, role, address } of run.children()) {
    if (address === undefined) {
      lines.push(`${instance}: not serving`);
      continue;
    }
    using channel = openChannel(address);
    const ask = {
      learner: async () => (await channel.client(LearnerService).getRunStatus({}, ASK)).service,
      actor: async () => (await channel.client(ActorService).getStatus({}, ASK)).service,
      reward: async () => (await channel.client(RewardService).getStatus({}, ASK)).service,
    };
    const service = await ask[role]().catch(() => undefined);
    const waits = service?.waits.map(({ name }) => name).join("; ") ?? "no answer";
    lines.push(`${instance}: ${waits}`);
  }
  return lines;
}
