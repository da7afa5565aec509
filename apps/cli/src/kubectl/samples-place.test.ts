import { describe, expect, it } from "vitest";
import type { TrainingRun } from "./cluster.ts";
import { requireSamples, samplesPlace } from "./samples-place.ts";
import type { RunPod } from "./waiting.ts";

const data = { type: "task", task: { name: "addition" } } as const;
const run = (stage: string, message = ""): TrainingRun => ({
  apiVersion: "oarlock.dev/v1alpha1",
  kind: "TrainingRun",
  metadata: { name: "demo", uid: "u-1" },
  spec: {
    model: { from: "hf://org/name" },
    stages: [
      { name: "judge", type: "reward-model", "reward-model": { data, steps: 1 } },
      {
        name: "please",
        type: "grpo",
        grpo: { data, steps: 1, rewards: [{ name: "answer", type: "exact" }] },
      },
      { name: "polish", type: "sft", sft: { data, steps: 1 } },
    ],
  },
  status: {
    progress: { stage },
    conditions: [{ type: "Ready", status: "False", reason: "Starting", message, lastTransitionTime: "" }],
  },
});
const pod = (name: string, phase: string, metadata: object = {}): RunPod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, ...metadata },
  status: { phase },
});

describe("the place of samples", () => {
  it("is the pod of the learner that runs, beside pods that failed and pods that end", () => {
    const pods = [
      pod("failed", "Failed"),
      pod("ending", "Running", { deletionTimestamp: "2026-01-01T00:00:00Z" }),
      pod("runs", "Running"),
    ];
    const file = "/var/lib/oarlock/runs/u-1/samples.jsonl";
    expect(samplesPlace(run("please"), pods)).toEqual({ pod: "runs", file });
  });

  it("is nowhere while no learner runs, which says why, and before anything is generated", () => {
    expect(() => samplesPlace(run("please", "its pod is being made"), [pod("failed", "Failed")])).toThrow(
      /LEARNER_ABSENT.*no learner of demo runs.*: its pod is being made/,
    );
    expect(() => requireSamples(run("judge"))).toThrow(
      /SAMPLES_NONE.*stage judge is reward-model; steps of grpo and ppo make some, and evaluations/,
    );
    expect(() => requireSamples(run("none"))).toThrow(/SAMPLES_NONE.*its first stage has not begun/);
    const evaluated = run("polish");
    const evaluation = { data, rewards: [] };
    const stages = evaluated.spec.stages.filter(({ name }) => name !== "please");
    const polish = { ...evaluated, spec: { ...evaluated.spec, stages } };
    expect(() => requireSamples(polish)).toThrow(/SAMPLES_NONE.*stage polish is sft/);
    expect(() => requireSamples({ ...polish, spec: { ...polish.spec, evaluation } })).not.toThrow();
    const judge = run("judge");
    expect(() => requireSamples({ ...judge, spec: { ...judge.spec, evaluation } })).toThrow(/SAMPLES_NONE/);
    for (const stage of ["please", "polish"]) expect(() => requireSamples(run(stage))).not.toThrow();
  });
});
