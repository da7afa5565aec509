/** Terminal lines: what a reader sees, and what a model's text must not do to the terminal. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { SampleRecord } from "../records.ts";
import { formatNumber, type Progress, progressLine, shortDuration, sparkline, trendOf } from "./progress.ts";
import { pairSamples, renderPairs, renderSample } from "./samples.ts";
import { clip, COLOR, safeText, unmarked } from "./style.ts";

const progress = (changes: Partial<Progress> = {}): Progress => ({
  stage: "grpo",
  step: 4,
  steps: 200,
  history: [0.1, 0.2, 0.3, 0.4].map((reward) => ({
    "critic/score/mean": reward,
    "actor/kl_loss": 0.012,
    "actor/entropy": 1.2,
    "perf/throughput": 4321,
  })),
  elapsedSeconds: 8,
  stepsInSitting: 4,
  ...changes,
});

describe("progress", () => {
  it("is one line: step, reward with trend, KL, speed, time left, entropy, bars", () => {
    expect(progressLine(progress())).toBe(
      "grpo 4/200  reward 0.400 +0.200  kl 0.0120  4,321 tok/s  6 min 32 s left  entropy 1.20  ▁▃▆█",
    );
  });

  it("has what matters most in a terminal of 80 columns", () => {
    const wide = { "critic/score/mean": 0.00625, "actor/kl_loss": 0.00625, "perf/throughput": 54_321 };
    const history = Array.from({ length: 24 }, (_, at) => ({ ...wide, "actor/entropy": at }));
    const long = progress({ step: 120, history, elapsedSeconds: 4800, stepsInSitting: 120 });
    expect(clip(progressLine(long), 79)).toMatch(
      /^grpo 120\/200 .* kl 0\.00625  54,321 tok\/s  53 min 20 s left/,
    );
  });

  it("shows the loss of a supervised stage", () => {
    const line = progressLine(progress({ stage: "sft", history: [{ "train/loss": 2 }] }));
    expect(line).toBe("sft 4/200  loss 2.00  6 min 32 s left  ▁");
  });

  it("shows NaN as it is, and no time before the first step", () => {
    const line = progressLine(
      progress({ step: 0, stepsInSitting: 0, history: [{ "critic/score/mean": Number.NaN }] }),
    );
    expect(line).toBe("grpo 0/200  reward NaN  unknown time left  !");
  });

  it("has a trend once there are four values", () => {
    expect(trendOf([1, 2, 3])).toBeUndefined();
    expect(trendOf([1, 1, 3, 3])).toBe(2);
  });

  it("formats numbers and durations for reading", () => {
    expect([0, 0.000012, 0.12345, 12.345, 1234.5, 2e7].map(formatNumber)).toEqual([
      "0",
      "1.2e-5",
      "0.123",
      "12.3",
      "1,235",
      "2.0e+7",
    ]);
    expect([0.4, 59, 61, 3725].map(shortDuration)).toEqual(["0 s", "59 s", "1 min 1 s", "1 h 2 min"]);
    expect(sparkline([1, 1])).toBe("▁▁");
  });
});

const sample = (changes: Partial<SampleRecord>): SampleRecord => ({
  kind: "evaluation",
  stage: "sft",
  step: 0,
  policyVersion: 0,
  promptIndex: 0,
  sample: 0,
  prompt: "12+34=",
  completion: "46",
  rewards: { answer: 1 },
  total: 1,
  finishReason: "stop",
  ...changes,
});

describe("samples", () => {
  it("pairs the first before with the last after of each prompt, greedy ones where there are any", () => {
    const samples = [
      sample({ when: "before", completion: "9", total: 0, greedy: true, answer: "46" }),
      sample({ when: "before", completion: "other", total: 0 }),
      sample({ when: "after", completion: "47", stage: "sft", greedy: true, answer: "46" }),
      sample({ when: "after", completion: "46", stage: "grpo", greedy: true, answer: "46" }),
    ];
    const pairs = pairSamples(samples, 5);
    expect(pairs).toHaveLength(1);
    expect(renderPairs(pairs, 60)).toBe("12+34=   (wanted: 46)\n  before      0  9\n  after    1.00  46");
  });

  it("shows a failed sample as failed", () => {
    expect(renderSample(sample({ total: null, rewards: { judge: null } }))).toContain("judge failed");
  });

  it("names the trace of a sample that was traced", () => {
    const traceId = "a".repeat(32);
    expect(renderSample(sample({ traceId })).split("\n")[0]).toMatch(new RegExp(`stop · trace ${traceId}$`));
    expect(renderSample(sample({}))).not.toContain("trace");
  });

  it("X1: a model's text cannot steer the terminal", () => {
    expect(safeText("a\u001b[2Jb\tc\r\u202e")).toBe("a\\u001b[2Jb    c\\u202e");
    const harmless = (text: string) => {
      const rendered = renderSample(sample({ completion: text, prompt: text, finishReason: text }));
      // eslint-disable-next-line no-control-regex
      expect(rendered).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    };
    fc.assert(fc.property(fc.string({ unit: "binary" }), harmless));
  });

  it("clips by characters, not by half of one", () => {
    expect(clip("😀😀😀", 2)).toBe("😀…");
    expect(COLOR.bold("x")).toBe("\u001b[1mx\u001b[22m");
  });

  it("clips what is seen: marks have no width, and one that was begun ends", () => {
    const text = `${COLOR.bold("ab")}${COLOR.dim("cd")}`;
    expect(clip(text, 4)).toBe(text);
    expect(clip(text, 3)).toBe(`${COLOR.bold("ab")}${COLOR.dim("…")}`);
    expect(clip(text, 2)).toBe(`${COLOR.bold("a…")}${COLOR.dim("")}`);
    expect(unmarked(text)).toBe("abcd");
  });
});
