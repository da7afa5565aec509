/** W3: an update that is not finite is rejected and reported, and no policy comes of it; a guard says whether the run goes on. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Bus } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import { RolloutPurpose, TrajectoryBatchSchema, fromBinary, toBinary } from "@oarlock/proto";
import { parseMetrics } from "@oarlock/report";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";
import { beforePublishing } from "./publishing-bus.ts";

/** The stream's correction reads the log-probs that actors name: a step of these has no finite gradient. */
const PLAN = [
  "stages.sft.sft.steps=2",
  "evaluation.every=100",
  "pipeline={mode: streaming, maxStaleness: 1}",
  "compute.actors=1",
];
const STEPS = 8;

const notANumber = new Uint8Array(Float32Array.of(Number.NaN).buffer);

/** One rollout group's log-probs are no numbers. */
function spoilt(bus: Bus, service: string): Bus {
  if (service !== "actor-0") return bus;
  let done = false;
  return beforePublishing(bus, async (_, data) => {
    const batch = fromBinary(TrajectoryBatchSchema, data);
    if (done || batch.trajectories[0]?.purpose !== RolloutPurpose.ROLLOUT) return;
    done = true;
    const trajectories = batch.trajectories.map((one) => {
      const behaviourLogprobs = one.behaviourLogprobs.map((_byte, i) => notANumber[i % 4] ?? 0);
      return { ...one, behaviourLogprobs };
    });
    return toBinary(TrajectoryBatchSchema, { ...batch, trajectories });
  });
}

async function run(set: readonly string[]) {
  const outDir = temporaryFolder("rejected");
  const said: string[] = [];
  const local = await startLocalRun(additionPlan([...PLAN, ...set]), {
    outDir,
    baseDir: outDir,
    busFor: spoilt,
    onEvent: (event) => {
      if (event.type === "rejected") said.push(`${event.stage} ${event.step}: ${event.reason}`);
    },
  });
  const ended = await local.finished.then(({ status }) => status, String);
  const lines = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8"));
  return { ended, said, steps: lines.filter(({ kind }) => kind === "step") };
}

test("W3: without a guard the run goes on from the policy before it", async () => {
  const { ended, said, steps } = await run([]);
  expect(ended).toBe("completed");
  expect(said).toEqual([expect.stringMatching(/^grpo 1: the update was not finite \(gradient norm NaN\)/)]);
  expect(steps).toHaveLength(STEPS);
  const digests = steps.map(({ policyDigest }) => policyDigest);
  expect(digests[2]).toBe(digests[1]);
  expect(new Set(digests).size).toBe(STEPS - 1);
  expect(steps.map(({ metrics }) => metrics["actor/update_rejected"])).toEqual([0, 0, 1, 0, 0, 0, 0, 0]);
});

test("W3: a guard of rejected updates ends it there", async () => {
  const guard = "{name: finite, watch: rejected-updates, window: 1, reaction: stop}";
  const { ended, steps } = await run([`stages.grpo.grpo.guards=[${guard}]`]);
  expect(ended).toMatch(/GUARD_STOPPED.*step 1: guard finite: actor\/update_rejected is 1 \(limit 0.5/);
  expect(steps).toHaveLength(3);
});

test("W3: or goes back to the last good policy", async () => {
  const guard = "{name: finite, watch: rejected-updates, window: 1, reaction: roll-back}";
  const { ended, steps } = await run([`stages.grpo.grpo.guards=[${guard}]`]);
  expect(ended).toBe("completed");
  const [, start, rejected, ...later] = steps;
  expect([rejected?.policyDigest, later]).toEqual([start?.policyDigest, []]);
});
