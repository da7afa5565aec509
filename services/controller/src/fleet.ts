/**
 * A simulated run for tests of scaling: a lockstep learner, actors, reward workers, in seconds of a clock of its own. It knows
 * nothing of the policy that it is scaled by; it only says what a learner would.
 */
import type { Look } from "./pace.ts";

export interface FleetOptions {
  readonly lag: number;
  readonly promptsPerStep: number;
  /** Actor-seconds of a group. */
  readonly groupSeconds: number;
  /** Seconds of an update. */
  readonly trainSeconds: number;
  readonly rewardWorkers: number;
  /** Worker-seconds of a group. */
  readonly rewardSeconds: number;
  /** Seconds from a pod's making to its first group. */
  readonly startSeconds: number;
  /** 0 to below 1: how unlike groups and updates are. */
  readonly noise: number;
  readonly random: () => number;
}

interface Worker {
  readonly readyAt: number;
  /** Batch in hand, and when it is done. */
  busy?: { readonly batch: number; readonly until: number };
}

export interface Fleet {
  options: FleetOptions;
  /** Asks for so many actors. */
  scale(actors: number): void;
  /** Lets time pass, in seconds. */
  pass(seconds: number): void;
  look(): Look;
  readonly steps: () => number;
}

const TICK_SECONDS = 0.1;

/** A fleet with so many actors that serve. */
export function newFleet(start: FleetOptions, count: number): Fleet {
  let now = 0;
  let actors: Worker[] = Array.from({ length: count }, () => ({ readyAt: 0 }));
  const rewards: Worker[] = Array.from({ length: start.rewardWorkers }, () => ({ readyAt: 0 }));
  const work: number[] = [];
  const generated: number[] = [];
  const scored = new Map<number, number>();
  let [issued, trained, waitedFrom] = [0, 0, 0];
  let training: { readonly until: number; readonly wait: number } | undefined;
  let last: { readonly wait: number; readonly seconds: number } | undefined;
  const about = (seconds: number): number =>
    seconds * (1 + fleet.options.noise * (2 * fleet.options.random() - 1));
  const serve = (
    workers: readonly Worker[],
    queue: number[],
    of: { readonly seconds: number; readonly done: (batch: number) => void },
  ): void => {
    for (const worker of workers) {
      if (worker.busy !== undefined && worker.busy.until <= now) {
        of.done(worker.busy.batch);
        delete worker.busy;
      }
      if (worker.busy !== undefined || worker.readyAt > now) continue;
      const batch = queue.shift();
      if (batch !== undefined) worker.busy = { batch, until: now + about(of.seconds) };
    }
  };
  const learn = (): void => {
    const { lag, promptsPerStep, trainSeconds } = fleet.options;
    if (training !== undefined && training.until <= now) {
      last = { wait: training.wait, seconds: now - waitedFrom };
      trained += 1;
      waitedFrom = now;
      training = undefined;
    }
    for (; issued <= trained + lag; issued++) work.push(...Array<number>(promptsPerStep).fill(issued));
    if (training === undefined && scored.get(trained) === promptsPerStep)
      training = { until: now + about(trainSeconds), wait: now - waitedFrom };
  };
  const fleet: Fleet = {
    options: start,
    scale(wanted) {
      // What a pod that goes had in hand is handed back.
      for (const { busy } of actors.slice(wanted)) if (busy !== undefined) work.unshift(busy.batch);
      const more = Math.max(0, wanted - actors.length);
      const made = Array.from({ length: more }, () => ({ readyAt: now + fleet.options.startSeconds }));
      actors = [...actors.slice(0, wanted), ...made];
    },
    pass(seconds) {
      for (const end = now + seconds; now < end; now += TICK_SECONDS) {
        learn();
        const { groupSeconds, rewardSeconds } = fleet.options;
        serve(actors, work, { seconds: groupSeconds, done: (batch) => generated.push(batch) });
        const done = (batch: number): void => void scored.set(batch, (scored.get(batch) ?? 0) + 1);
        serve(rewards, generated, { seconds: rewardSeconds, done });
      }
    },
    look: () => ({
      nowMs: now * 1000,
      step: String(trained),
      waitSeconds: last?.wait,
      stepSeconds: last?.seconds,
      unanswered: work.length + actors.filter(({ busy }) => busy !== undefined).length,
      actors: actors.filter(({ readyAt }) => readyAt <= now).length,
      wanted: actors.length,
    }),
    steps: () => trained,
  };
  return fleet;
}
