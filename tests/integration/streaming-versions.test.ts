/**
 * Streaming mode, where weights change while a sequence is drawn: a trajectory says which version drew which tokens, and the
 * learner's weights of samples are made of the log-probs that those versions gave them. And PPO in streaming mode.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Bus } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import { openFileData } from "@oarlock/data";
import { TrajectoryBatchSchema, fromBinary } from "@oarlock/proto";
import type { Trajectory } from "@oarlock/proto";
import { parseMetrics, parseSamples } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import type { ResolvedRun } from "@oarlock/runfile";
import { temporaryFolder } from "@oarlock/testkit";
import { describe, expect, test } from "vitest";
import { dataFacts, readRun, resolveRun } from "../resolve-run.ts";
import { beforePublishing } from "./publishing-bus.ts";
import { rlhfPlan, writePairs } from "./rlhf-plan.ts";
import { tinyModel } from "../tiny-model.ts";

const [STEPS, GROUPS, GROUP_SIZE] = [14, 2, 4];

/** Demonstrations are long, so that samples are: a step takes less time than a sequence. */
const RUN_FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: long }
spec:
  seed: 3
  model: ${tinyModel(256)}
  pipeline: { mode: streaming, maxStaleness: 10 }
  compute: { actors: 1, slots: 1, generationWorkers: 1, trainingThreads: 1 }
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: file, file: { path: long.jsonl } }
        steps: 20
        batchSize: 8
        optimizer: { learningRate: 0.005 }
    - name: grpo
      type: grpo
      grpo:
        data: { type: file, file: { path: long.jsonl } }
        steps: ${STEPS}
        promptsPerStep: ${GROUPS}
        groupSize: ${GROUP_SIZE}
        sampling: { maxNewTokens: 200 }
        rewards: [{ name: long, type: length, length: { unit: tokens, min: 20, max: 120, softness: 60 } }]
        optimizer: { learningRate: 0.0005 }
  output: { samplesPerStep: ${GROUPS * GROUP_SIZE} }
`;

async function longPlan(folder: string): Promise<ResolvedRun> {
  const rows = Array.from({ length: 64 }, (_, i) =>
    JSON.stringify({ prompt: `${i % 8}+${Math.floor(i / 8)}=`, completion: String(i % 10).repeat(100) }),
  );
  writeFileSync(join(folder, "long.jsonl"), `${rows.join("\n")}\n`);
  const facts = dataFacts(await openFileData({ path: "long.jsonl" }, { baseDir: folder }), 8);
  const data = new Map(
    ["sft", "grpo"].map((stage, i) => [`spec.stages[${i}].${stage}.data`, facts] as const),
  );
  return resolveRun(readRun(RUN_FILE, "long.yaml", []), { data, functions: new Map() });
}

/** Whatever the reward worker publishes is put into `into`. */
const recording =
  (into: Trajectory[]) =>
  (bus: Bus, service: string): Bus =>
    service !== "reward-0"
      ? bus
      : beforePublishing(bus, async (_, data) => {
          into.push(...fromBinary(TrajectoryBatchSchema, data).trajectories);
        });

function stepRecords(outDir: string, stage: string): MetricsRecord[] {
  return parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8")).filter(
    (record) => record.kind === "step" && record.stage === stage,
  );
}

const versionsOf = ({ segments }: Trajectory): number[] =>
  segments.map(({ policy }) => policy?.version ?? -1);
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
/** exp of the mean negative log-prob that whoever drew the completion gave its tokens. */
const perplexity = ({ behaviourLogprobs }: Trajectory): number =>
  Math.exp(-mean(Array.from(new Float32Array(new Uint8Array(behaviourLogprobs).buffer))));
const placeOf = ({ group, sample }: Trajectory): string => [group?.step, group?.group, sample].join("/");

describe("weights that change in mid-sequence", () => {
  test("W2: segments name the versions that drew them, and weights are of the log-probs that these gave", async () => {
    const outDir = temporaryFolder("versions");
    const scored: Trajectory[] = [];
    const plan = await longPlan(outDir);
    const local = await startLocalRun(plan, { outDir, baseDir: outDir, busFor: recording(scored) });
    expect(await local.finished).toMatchObject({ status: "completed" });
    const byPlace = new Map(scored.map((trajectory) => [placeOf(trajectory), trajectory]));
    const lines = parseSamples(readFileSync(join(outDir, "samples.jsonl"), "utf8"));
    const steps = stepRecords(outDir, "grpo");
    expect(steps).toHaveLength(STEPS);
    let changed = 0;
    for (const { step, metrics } of steps) {
      const batch = lines
        .filter((line) => line.kind === "rollout" && line.step === step)
        .flatMap(({ group = [], sample }) => byPlace.get([...group, sample].join("/")) ?? []);
      expect(batch).toHaveLength(GROUPS * GROUP_SIZE);
      const partial = batch.filter((trajectory) => new Set(versionsOf(trajectory)).size > 1);
      for (const trajectory of partial) {
        const versions = versionsOf(trajectory);
        expect(versions).toEqual(versions.toSorted((a, b) => a - b));
        expect(trajectory.segments.at(-1)?.end).toBe(trajectory.tokenIds.length);
      }
      changed += partial.length;
      expect(metrics["fully_async/partial/total_partial_num"]).toBe(partial.length);
      // μ of the weights ρ = π_prox/μ: of every token, what its own version gave it.
      expect(metrics["rollout_corr/rollout_ppl"]).toBeCloseTo(mean(batch.map(perplexity)), 4);
      const isOld = (metrics["training/staleness/max"] ?? 0) > 0;
      expect(Math.abs((metrics["rollout_corr/rollout_is_max"] ?? 1) - 1) > 1e-4).toBe(isOld);
    }
    expect(changed).toBeGreaterThan(0);
  });
});

describe("PPO in streaming mode", () => {
  test.each(["own", "trunk"])(
    "T1: trains policy and critic, network %s, on samples of older policies",
    async (network) => {
      const outDir = temporaryFolder("streaming-ppo");
      writePairs(outDir);
      const plan = await rlhfPlan(outDir, [
        "pipeline={mode: streaming, maxStaleness: 2}",
        "compute.actors=2",
        "stages.ppo.ppo.steps=8",
        `stages.ppo.ppo.critic.network=${network}`,
        "output.samplesPerStep=16",
      ]);
      const local = await startLocalRun(plan, { outDir, baseDir: outDir });
      expect(await local.finished).toMatchObject({ status: "completed" });
      const steps = stepRecords(outDir, "ppo");
      expect(new Set(steps.map(({ policyDigest }) => policyDigest)).size).toBe(8);
      const all = (name: string): number[] => steps.map(({ metrics }) => metrics[name] ?? Number.NaN);
      expect(Math.max(...all("training/staleness/max"))).toBeGreaterThan(0);
      expect(Math.max(...all("training/staleness/max"))).toBeLessThanOrEqual(2);
      expect(all("rollout_corr/rollout_is_max")[0]).toBeCloseTo(1, 4);
      expect(Math.max(...all("rollout_corr/rollout_is_std"))).toBeGreaterThan(0);
      expect(Math.min(...all("actor/grad_norm"))).toBeGreaterThan(0);
      expect(Math.min(...all("critic/vf_loss"))).toBeGreaterThan(0);
      const groups = parseSamples(readFileSync(join(outDir, "samples.jsonl"), "utf8"))
        .filter(({ kind }) => kind === "rollout")
        .map(({ group, step }) => `${group?.join("/")} in ${step}`);
      expect(new Set(groups).size).toBe(8 * 8);
      expect(new Set(groups.map((place) => place.split(" ")[0])).size).toBe(8 * 8);
    },
  );
});
