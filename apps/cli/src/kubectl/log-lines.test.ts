import type { LearnerLine } from "@oarlock/learner";
import { PLAIN } from "@oarlock/report";
import { expect, test } from "vitest";
import { readableLine } from "./log-lines.ts";

const PREFIX = "[pod/sums-learner-x/learner] ";
const policy = { number: 12, digest: "ab".repeat(32) };
const said = (event: LearnerLine, prefix = PREFIX): string =>
  readableLine(prefix + JSON.stringify(event), PLAIN);

const step = {
  type: "step",
  kind: "step",
  stage: "grpo",
  step: 12,
  steps: 200,
  globalStep: 12,
  policyVersion: 12,
  policyDigest: policy.digest,
  policy,
  timeMs: 0,
} as const;

test("what a learner writes for programs is read by people", () => {
  const metrics = { "critic/score/mean": 0.41, "actor/entropy": 1.2, "perf/throughput": 4300 };
  expect(said({ ...step, metrics })).toBe(`${PREFIX}grpo 12/200  reward 0.410  entropy 1.20  4,300 tok/s`);
  expect(said({ ...step, metrics }, "")).toMatch(/^grpo 12\/200 /);
  expect(said({ type: "stage", stage: "grpo", index: 1, steps: 200 })).toBe(`${PREFIX}stage grpo 200 steps`);
  const ended = { steps: 12, seconds: 1, policy, metrics: {}, evaluations: [] };
  expect(said({ type: "ended", status: "completed", ...ended })).toBe(
    `${PREFIX}completed after 12 steps, policy 12 abababababab`,
  );
});

test("a number that was none is one that can be printed", () => {
  expect(said({ ...step, metrics: { "critic/score/mean": Number.NaN } })).toContain("reward NaN");
});

test.each([
  `${PREFIX}listening on 0.0.0.0:50051`,
  `${PREFIX}{"type":"of another program"}`,
  `${PREFIX}{"type":"step","stage":`,
  `${PREFIX}{"type":"toString"}`,
  `${PREFIX}{"type":"step"}`,
  "",
])("other lines stay as they are: %s", (line) => {
  expect(readableLine(line, PLAIN)).toBe(line);
});
