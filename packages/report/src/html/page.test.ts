/** The report: complete without anything from elsewhere, and closed to whatever a sample says. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MetricsRecord, SampleRecord } from "../records.ts";
import { summarize } from "../summary.ts";
import { renderChart, ticks } from "./chart.ts";
import { escapeHtml } from "./escape.ts";
import { renderReport } from "./page.ts";

const record = (step: number, metrics: Record<string, number>, when?: "before" | "after"): MetricsRecord => ({
  kind: when === undefined ? "step" : "evaluation",
  stage: "learn",
  step,
  globalStep: step,
  policyVersion: step,
  policyDigest: "d".repeat(64),
  timeMs: 0,
  metrics,
  ...(when === undefined ? {} : { when }),
});

const sample = (when: "before" | "after", completion: string): SampleRecord => ({
  kind: "evaluation",
  when,
  stage: "learn",
  step: 0,
  policyVersion: 0,
  promptIndex: 3,
  sample: 0,
  prompt: completion,
  completion,
  answer: completion,
  rewards: { answer: 1 },
  total: 1,
  finishReason: "stop",
});

const records = [
  record(
    0,
    {
      "val-core/addition/answer/mean@4": 0.25,
      "val-core/addition/answer/mean@4/ci_low": 0.2,
      "val-core/addition/answer/mean@4/ci_high": 0.3,
    },
    "before",
  ),
  record(1, { "critic/score/mean": 0.3, "actor/lr": 1e-4 }),
  record(2, { "critic/score/mean": 0.5, "actor/lr": 1e-4 }),
  record(2, { "val-core/addition/answer/mean@4": 0.75 }, "after"),
];

function page(hostile: string): string {
  const summary = summarize({
    name: hostile,
    status: "failed",
    reason: hostile,
    planDigest: hostile,
    seconds: 5,
    stages: ["learn"],
    records,
  });
  const samples = [sample("before", hostile), sample("after", hostile)];
  return renderReport({
    summary,
    records,
    samples,
    plan: [{ path: hostile, value: hostile, origin: hostile }],
    parameters: 12_345,
  });
}

describe("guards in the report", () => {
  it("draws the gold score against √KL, and names every alarm", () => {
    const guarded = [1, 2, 3].map((step) => ({
      ...record(step, {
        "critic/score/mean": step,
        "gold/joy/mean": 1 / step,
        "actor/kl_per_sample": step ** 2,
      }),
      ...(step === 3 ? { alarms: [{ guard: "g", reaction: "stop", message: "g: <gold> fell" }] } : {}),
    }));
    const summary = summarize({
      name: "run",
      status: "failed",
      planDigest: "",
      seconds: 1,
      stages: ["learn"],
      records: guarded,
    });
    const html = renderReport({ summary, records: guarded, samples: [], plan: [], parameters: 1 });
    expect(html).toContain("Alarm in learn, step 3: g: &lt;gold&gt; fell (stop)");
    expect(html).toContain("Gold joy against √KL: 1.00 to 0.333 over 3 points");
    expect(html).toContain("Reward against √KL: 1.00 to 3.00 over 3 points");
  });
});

it.each([
  { from: 0.25, to: 0.75, cell: '<td class="number up">+0.500</td>' },
  { from: 0.75, to: 0.25, cell: '<td class="number down">−0.500</td>' },
  { from: 0.25, to: 0.25, cell: '<td class="number">0</td>' },
])("a change from $from to $to is neither good nor bad where it is none", ({ from, to, cell }) => {
  const evaluated = [
    record(0, { "val-core/addition/answer/mean@4": from }, "before"),
    record(1, { "val-core/addition/answer/mean@4": to }, "after"),
  ];
  const summary = summarize({
    name: "run",
    status: "completed",
    planDigest: "",
    seconds: 1,
    stages: ["learn"],
    records: evaluated,
  });
  expect(renderReport({ summary, records: evaluated, samples: [], plan: [], parameters: 1 })).toContain(cell);
});

describe("curves of evaluations", () => {
  it("are drawn of what a stage evaluated, from where it began; a single value is no curve", () => {
    const judge = (step: number, metrics: Record<string, number>, when?: "after") => ({
      ...record(step, metrics, when),
      stage: "judge",
    });
    const both = [
      ...records,
      judge(1, { "reward_model/lr": 1 }),
      judge(1, { "val-core/x/judge/accuracy": 0.9 }, "after"),
    ];
    const summary = summarize({
      name: "run",
      status: "completed",
      planDigest: "",
      seconds: 1,
      stages: ["learn", "judge"],
      records: both,
    });
    const html = renderReport({ summary, records: both, samples: [], plan: [], parameters: 1 });
    expect(html.match(/Held-out [^:<]*: /g)).toEqual(["Held-out addition/answer/mean@4: "]);
  });
});

describe("report", () => {
  it("shows evaluation, curves, samples and the plan", () => {
    const html = page("quiet");
    for (const part of [
      "0.250 <small>0.200 to 0.300</small>",
      "+0.500",
      "12,345",
      "before learn",
      "after learn",
      "Learning rate",
      "wanted:",
    ]) {
      expect(html).toContain(part);
    }
    expect(html.match(/<svg /g)).toHaveLength(3);
  });

  it("names no resource outside itself and forbids scripts", () => {
    const html = page("quiet");
    expect(html).toContain("default-src 'none'");
    expect(html).not.toMatch(/https?:|<script|<link|<img|<iframe|@import|url\(/);
  });

  it("X1: nothing hostile leaves its text: tags are the same for every sample", () => {
    const tags = (html: string) => html.match(/<[a-zA-Z/!][^>]*>/g)?.join("");
    const clean = tags(page("quiet"));
    const harmless = (text: string) => {
      const hostile = `"><script>alert(1)</script><img src=x onerror='x'>&${text}`;
      expect(tags(page(hostile))).toBe(clean);
    };
    fc.assert(fc.property(fc.string({ unit: "binary" }), harmless), { numRuns: 30 });
  });

  it("makes control and direction characters visible", () => {
    expect(escapeHtml("\u202egpj\u0000")).toBe("\\u202egpj\\u0000");
  });
});

describe("chart", () => {
  it("says so where there is nothing finite to draw", () => {
    expect(renderChart({ title: "KL", points: [{ x: 1, y: Number.NaN }] })).toContain("no values");
  });

  it("draws a constant and a single point", () => {
    expect(renderChart({ title: "a", points: [{ x: 1, y: 2 }] })).toContain("<circle");
  });

  it("has round ticks that span the values, at most nine", () => {
    const spans = (left: number, right: number) => {
      const [least, most] = [Math.min(left, right), Math.max(left, right)];
      const marks = ticks([least, most]);
      expect(marks.length).toBeLessThanOrEqual(9);
      expect((marks[0] ?? Number.NaN) <= least + Math.abs(least) * 1e-9).toBe(true);
      expect((marks.at(-1) ?? Number.NaN) >= most - Math.abs(most) * 1e-9).toBe(true);
    };
    const value = fc.double({ min: -1e6, max: 1e6, noNaN: true }).map((number) => Number(number.toFixed(3)));
    fc.assert(fc.property(value, value, spans));
  });

  it("thins a long run and never writes NaN into a path", () => {
    const points = Array.from({ length: 50_000 }, (_, x) => ({
      x,
      y: x % 7 === 0 ? Number.NaN : Math.sin(x),
    }));
    const svg = renderChart({ title: "long", points });
    expect(svg.length).toBeLessThan(40_000);
    expect(svg).not.toContain("NaN");
  });
});
