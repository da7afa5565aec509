/** Run checkpoints in a folder that is kept elsewhere: one is durable, and an incarnation claimed, once the folder is kept (T3, F1). */
import { isOarlockError, OarlockError } from "@oarlock/errors";
import type { KeptFolder } from "./kept-folder.ts";
import { openRunCheckpoints } from "./run-checkpoints.ts";
import type { RunCheckpoints, RunCheckpointsOptions } from "./types.ts";

/** Lost races with a learner that still runs before it is called a fault. */
const MAX_RACES = 16;

/** As `openRunCheckpoints`, from what is kept of the folder that the checkpoints lie in. */
export async function openKeptCheckpoints(
  kept: KeptFolder,
  options: RunCheckpointsOptions,
): Promise<RunCheckpoints> {
  for (let race = 0; race < MAX_RACES; race++) {
    await kept.restore(options.signal);
    const checkpoints = await openRunCheckpoints(options);
    if (await claimed(kept, options.signal)) return keeping(kept, checkpoints);
  }
  throw new OarlockError(
    "CHECKPOINT_CLAIM_CONTENDED",
    `another learner kept the run folder ${MAX_RACES} times meanwhile`,
  );
}

/** The incarnation is on our disk alone until the folder that holds it is kept. */
async function claimed(kept: KeptFolder, signal: AbortSignal | undefined): Promise<boolean> {
  try {
    await kept.keep(signal);
    return true;
  } catch (reason) {
    if (isOarlockError(reason, "CHECKPOINT_FENCED")) return false;
    throw reason;
  }
}

function keeping(kept: KeptFolder, checkpoints: RunCheckpoints): RunCheckpoints {
  const { incarnation, resumed } = checkpoints;
  return {
    incarnation,
    resumed,
    async write(content, signal) {
      const info = await checkpoints.write(content, signal);
      await kept.keep(signal);
      return info;
    },
    list: () => checkpoints.list(),
  };
}
