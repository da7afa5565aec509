/**
 * Work of another plan: what this process would make of it cannot count (D1b). It is handed back, for those of its plan to find,
 * and the learner hears of it: who hands everything back looks, from there, like nobody at all (L1).
 */
import type { Stream } from "@oarlock/bus";
import { OarlockError, shortDigest } from "@oarlock/errors";
import { TrajectoryBatchSchema, create, toBinary } from "@oarlock/proto";
import { sleep, waitFor } from "@oarlock/runtime";
import type { Clock, Log } from "@oarlock/runtime";

/** The work is kept from being asked for again and again. */
const PAUSE_MS = 1_000;
/** The learner hears of it once in so long. */
const SAY_EVERY_MS = 10_000;

export interface OwnPlan {
  /** Instance, e.g. actor-0. */
  readonly instance: string;
  readonly planDigest: string;
  /** Where the learner reads, under `subject`. */
  readonly stream: Pick<Stream, "publish">;
  readonly subject: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Work, as far as it is refused. */
export interface PlannedWork {
  readonly planDigest: string;
  /** Of the learner that issued it. */
  readonly incarnation: number;
}

/** Throws `PLAN_MISMATCH`, so that the work is handed back, after a pause that the status of this process shows. */
export type RefuseOtherPlan = (work: PlannedWork, signal: AbortSignal) => Promise<never>;

/** The refusal of a process that follows `own`. */
export function createPlanRefusal(own: OwnPlan): RefuseOtherPlan {
  let saidMs = -Infinity;
  const say = async ({ incarnation }: PlannedWork): Promise<void> => {
    const { instance, planDigest, stream, subject, clock, log } = own;
    if (clock.monotonicMs() - saidMs < SAY_EVERY_MS) return;
    saidMs = clock.monotonicMs();
    const message = create(TrajectoryBatchSchema, { incarnation, otherPlan: { instance, planDigest } });
    // One that is lost is made up for by the next.
    await stream
      .publish(subject, toBinary(TrajectoryBatchSchema, message))
      .catch((reason: unknown) => log.warn("the learner was not told of another plan", { err: reason }));
  };
  return async (work, signal) => {
    const [asked, followed] = [shortDigest(work.planDigest), shortDigest(own.planDigest)];
    const plans = `work is of plan ${asked}, ${own.instance} follows ${followed}`;
    void say(work);
    const pause = sleep(PAUSE_MS, { signal });
    await waitFor(`work of its own plan: ${plans}`, pause, { timeoutMs: 2 * PAUSE_MS, signal });
    throw new OarlockError("PLAN_MISMATCH", plans, { retryable: true });
  };
}
