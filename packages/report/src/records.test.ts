/** Records survive a round trip, a crash in mid-line, and numbers that JSON cannot say. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type MetricsRecord,
  metricsLine,
  parseMetrics,
  parseSamples,
  sampleLine,
  samplesIn,
} from "./records.ts";
import { spreadOf, summarize } from "./summary.ts";

const record = (changes: Partial<MetricsRecord> = {}): MetricsRecord => ({
  kind: "step",
  stage: "learn",
  step: 1,
  globalStep: 3,
  policyVersion: 3,
  policyDigest: "abc",
  timeMs: 1,
  metrics: { "b/x": 2, "a/x": 1 },
  ...changes,
});

describe("metrics.jsonl", () => {
  it("is one line with sorted metrics, and comes back as it was", () => {
    const line = metricsLine(record());
    expect(line).toBe(
      '{"kind":"step","stage":"learn","step":1,"globalStep":3,"policyVersion":3,"policyDigest":"abc","timeMs":1,"metrics":{"a/x":1,"b/x":2}}\n',
    );
    expect(parseMetrics(line)).toEqual([record()]);
  });

  it("names its trace where it was traced", () => {
    const traced = record({ traceId: "a".repeat(32) });
    expect(metricsLine(traced)).toContain(`"timeMs":1,"traceId":"${"a".repeat(32)}","metrics"`);
    expect(parseMetrics(metricsLine(traced))).toEqual([traced]);
  });

  it("shows a NaN as null and reads it back as NaN", () => {
    const line = metricsLine(record({ metrics: { loss: Number.NaN } }));
    expect(line).toContain('"loss":null');
    expect(parseMetrics(line)[0]?.metrics["loss"]).toBeNaN();
  });

  it("leaves out a last line that was cut off, wherever that was", () => {
    const text = metricsLine(record()) + metricsLine(record({ step: 2 }));
    const first = metricsLine(record()).length;
    const kept = (cut: number) => {
      expect(parseMetrics(text.slice(0, cut)).length).toBe(cut >= text.length - 1 ? 2 : 1);
    };
    fc.assert(fc.property(fc.integer({ min: first, max: text.length }), kept));
  });

  it("names the line that is broken in the middle", () => {
    expect(() => parseMetrics(`${metricsLine(record())}{"oops\n${metricsLine(record())}`)).toThrow(
      "metrics.jsonl:2",
    );
    expect(() => parseSamples(`{"stage":1}\n`)).toThrow("samples.jsonl:1");
  });
});

describe("samples.jsonl", () => {
  const sampleOf = (completion: string) => ({
    kind: "rollout" as const,
    stage: "learn",
    step: 1,
    policyVersion: 0,
    promptIndex: 0,
    sample: 0,
    prompt: "p",
    completion,
    rewards: { answer: null },
    total: null,
    finishReason: "length",
  });

  it("comes back as it was, whatever the model wrote", () => {
    const roundTrip = (completion: string) => {
      expect(parseSamples(sampleLine(sampleOf(completion)))).toEqual([sampleOf(completion)]);
    };
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), roundTrip));
  });

  it("reads the same in pieces, wherever they are cut, and names the line that is broken", async () => {
    const text = ["a", "", "c"].map((completion) => sampleLine(sampleOf(completion))).join("\n");
    const read = async (whole: string, size: number): Promise<unknown[]> => {
      const pieces = async function* (): AsyncGenerator<string> {
        for (let at = 0; at < whole.length; at += size) yield whole.slice(at, at + size);
      };
      const found: unknown[] = [];
      for await (const sample of samplesIn(pieces())) found.push(sample);
      return found;
    };
    const property = fc.asyncProperty(
      fc.nat(text.length),
      fc.integer({ min: 1, max: 200 }),
      async (end, size) => {
        expect(await read(text.slice(0, end), size)).toEqual(parseSamples(text.slice(0, end)));
      },
    );
    await fc.assert(property);
    await expect(read(`${text}{\n`, 50)).rejects.toThrow("samples.jsonl:6");
  });
});

describe("summary.json", () => {
  it("folds steps and evaluations, per stage", () => {
    const summary = summarize({
      name: "addition",
      status: "completed",
      planDigest: "p",
      seconds: 9,
      stages: ["warm", "learn"],
      records: [
        record({
          kind: "evaluation",
          when: "before",
          step: 0,
          policyVersion: 2,
          metrics: { "val-core/a/b/greedy": 0.1 },
        }),
        record({ metrics: { "timing_s/step": 2, "critic/score/mean": 0.5 } }),
        record({ kind: "evaluation", when: "after", metrics: { "val-core/a/b/greedy": 0.9 } }),
      ],
    });
    expect(summary).toMatchObject({
      status: "completed",
      steps: 1,
      policy: { version: 3, digest: "abc" },
      finalMetrics: { "critic/score/mean": 0.5 },
      reproducible: true,
    });
    expect(summary.stages[0]).toEqual({ name: "warm", steps: 0, seconds: 0, finalMetrics: {} });
    expect(summary.stages[1]).toMatchObject({
      steps: 1,
      seconds: 2,
      before: { policy: { version: 2 }, metrics: { "val-core/a/b/greedy": 0.1 } },
      after: { metrics: { "val-core/a/b/greedy": 0.9 } },
    });
  });

  it("says of a later stage that it began where the one before ended", () => {
    const after = { kind: "evaluation", when: "after", policyVersion: 5 } as const;
    const { stages } = summarize({
      name: "two",
      status: "completed",
      planDigest: "p",
      seconds: 1,
      stages: ["warm", "learn"],
      records: [
        record({ ...after, stage: "warm", step: 4, metrics: { "val-core/a/b/greedy": 0.4 } }),
        record({ ...after, stage: "learn", step: 9, metrics: { "val-core/a/b/greedy": 0.8 } }),
      ],
    });
    expect(stages[0]?.before).toBeUndefined();
    expect(stages[1]?.before).toMatchObject({ step: 0, metrics: { "val-core/a/b/greedy": 0.4 } });
  });

  it("a stage that evaluates something else does not hide where the policy stands", () => {
    const after = { kind: "evaluation", when: "after" } as const;
    const { stages } = summarize({
      name: "three",
      status: "completed",
      planDigest: "p",
      seconds: 1,
      stages: ["style", "judge", "please"],
      rewardModels: ["judge"],
      records: [
        record({
          ...after,
          stage: "style",
          policyVersion: 4,
          policyDigest: "style",
          metrics: { "val-core/a/b/greedy": 0.4 },
        }),
        record({ ...after, stage: "judge", metrics: { "val-core/held-out/judge/accuracy": 0.9 } }),
        record({ ...after, stage: "please", metrics: { "val-core/a/b/greedy": 0.8 } }),
      ],
    });
    const policy = { version: 4, digest: "style" };
    expect(stages[2]?.before).toEqual({ step: 0, policy, metrics: { "val-core/a/b/greedy": 0.4 } });
    expect(stages[1]?.before).toBeUndefined();
    expect(stages[1]?.after?.metrics).toEqual({ "val-core/held-out/judge/accuracy": 0.9 });
  });

  it("gives mean and sample standard deviation over seeds", () => {
    expect(spreadOf([1, 2, 3])).toEqual({ mean: 2, standardDeviation: 1, least: 1, most: 3, count: 3 });
    expect(spreadOf([4]).standardDeviation).toBe(0);
  });
});
