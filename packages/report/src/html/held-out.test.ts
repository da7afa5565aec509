/** What a reward model's stage shows of held-out rows: every bar and bin where it belongs, and nothing where there is none. */
import { describe, expect, it } from "vitest";
import type { MetricsRecord } from "../records.ts";
import { heldOutParts } from "./held-out.ts";

const record = (metrics: Record<string, number>, when: "before" | "after" = "after"): MetricsRecord => ({
  kind: "evaluation",
  when,
  stage: "judge",
  step: 9,
  globalStep: 9,
  policyVersion: 9,
  policyDigest: "d".repeat(64),
  timeMs: 0,
  metrics,
});

const LEADS = {
  "val-core/held-out/judge/accuracy": 0.75,
  "val-core/held-out/judge/accuracy/ci_low": 0.6,
  "val-core/held-out/judge/accuracy/ci_high": 0.85,
  "val-aux/judge/calibration_error": 0.04,
  "val-aux/judge/margin": 0.5,
  // As the record sorts them: by name, not by number.
  "val-aux/judge/margins/-0.5": 4,
  "val-aux/judge/margins/-1": 2,
  "val-aux/judge/margins/0": 8,
  "val-aux/judge/margins/0.5": 0,
  "val-aux/judge/margins/1": 6,
  "val-aux/judge/pairs": 20,
  "val-aux/judge/reliability/0/accuracy": 0.5,
  "val-aux/judge/reliability/0/confidence": 0.52,
  "val-aux/judge/reliability/0/count": 15,
  "val-aux/judge/reliability/8/accuracy": 1,
  "val-aux/judge/reliability/8/confidence": 0.93,
  "val-aux/judge/reliability/8/count": 5,
};

const rects = (svg: string) =>
  [...svg.matchAll(/<rect class="(\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)].map(
    ([, name, ...numbers]) => ({ name, numbers: numbers.map(Number) }),
  );

describe("a reward model's held-out rows", () => {
  it("are a histogram of leads, what is behind 0 set apart, as high as there are many", () => {
    const { charts, numbers } = heldOutParts("judge", [record({}, "before"), record(LEADS)]);
    const [histogram = "", reliability = ""] = charts;
    const bars = rects(histogram);
    expect(bars.map(({ name }) => name)).toEqual(["behind", "behind", "ahead", "ahead", "ahead"]);
    const heights = bars.map(({ numbers: [, , , height = -1] }) => height);
    for (const [at, count] of [2, 4, 8, 0, 6].entries())
      expect(heights[at]).toBeCloseTo((heights[2]! * count) / 8, 0);
    const starts = bars.map(({ numbers: [x = -1] }) => x);
    expect(starts).toEqual(starts.toSorted((left, right) => left - right));
    expect(histogram).toContain("20 from -1.00 to 1.50");
    expect(reliability.match(/<circle /g)).toHaveLength(2);
    // The surer bin stands to the right, and above: it is more often right.
    const dots = [...reliability.matchAll(/cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"/g)].map((match) =>
      match.slice(1).map(Number),
    );
    expect(dots[1]![0]!).toBeGreaterThan(dots[0]![0]!);
    expect(dots[1]![1]!).toBeLessThan(dots[0]![1]!);
    expect(dots[1]![2]!).toBeLessThan(dots[0]![2]!);
    expect(numbers).toContain("accuracy 0.750 (95 %: 0.600 to 0.850), calibration error 0.04");
    expect(numbers).toContain("20 pairs");
  });

  it("of a process reward model are named as steps, with what right and wrong ones say", () => {
    const steps = {
      "val-core/held-out/judge/balanced_accuracy": 0.7,
      "val-aux/judge/steps": 60,
      "val-aux/judge/f1_wrong": 0.4,
    };
    const { charts, numbers } = heldOutParts("judge", [record({ ...LEADS, ...steps })]);
    expect(charts[0]).toContain("held-out steps");
    expect(numbers).toContain("balanced accuracy 0.700");
    expect(numbers).toContain("F1 of finding wrong steps 0.4");
  });

  it("are not shown of other stages, nor where nothing was held out", () => {
    expect(heldOutParts("other", [record(LEADS)])).toEqual({ charts: [], numbers: "" });
    expect(heldOutParts("judge", [record({ "val-core/addition/answer/mean@4": 1 })])).toEqual({
      charts: [],
      numbers: "",
    });
  });

  it("that are all alike are one bar", () => {
    const { charts } = heldOutParts("judge", [record({ "val-aux/judge/margins/0": 7 })]);
    expect(charts).toHaveLength(1);
    expect(rects(charts[0]!)).toHaveLength(1);
    expect(charts[0]).not.toMatch(/NaN|Infinity/);
  });
});
