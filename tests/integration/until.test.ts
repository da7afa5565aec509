/**
 * Stages that an evaluation ends: what it says is a function of the plan, so the end is too, whatever is stopped in between.
 * Every score is at least 0, so that each stage ends with its first evaluation between two steps.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRunOptions, RunEvent, RunOutcome } from "@oarlock/cli/local";
import { parseMetrics, summarize } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const UNTIL = ["stages.sft.sft.until={atLeast: 0}", "stages.grpo.grpo.until={score: greedy, atLeast: 0}"];

interface Ran {
  readonly outDir: string;
  readonly outcome: RunOutcome;
  readonly events: readonly RunEvent[];
  readonly records: readonly MetricsRecord[];
}

async function run(options: Partial<LocalRunOptions> = {}, set: readonly string[] = UNTIL): Promise<Ran> {
  const outDir = options.outDir ?? temporaryFolder();
  const events: RunEvent[] = [];
  const onEvent = (event: RunEvent): void => {
    events.push(event);
    options.onEvent?.(event);
  };
  const local = await startLocalRun(additionPlan(set), {
    uid: "until",
    ...options,
    outDir,
    baseDir: outDir,
    onEvent,
  });
  const outcome = await local.finished;
  const records = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8"));
  return { outDir, outcome, events, records };
}

const stepsOf = ({ records }: Ran): string[] =>
  records.flatMap(({ kind, stage, step, policyDigest }) =>
    kind === "step" ? [`${stage} ${step} ${policyDigest}`] : [],
  );

/** Stops the run with the first event of that kind and step. */
function stopAt(type: RunEvent["type"], stage: string): Pick<LocalRunOptions, "signal" | "onEvent"> {
  const stop = new AbortController();
  return {
    signal: stop.signal,
    onEvent: (event) => {
      if (event.type === type && "stage" in event && event.stage === stage) stop.abort();
    },
  };
}

test("D1, T3: each stage ends with the evaluation that reached it, also after a stop before, at and behind it", async () => {
  const whole = await run();
  expect(stepsOf(whole).map((line) => line.split(" ").slice(0, 2).join(" "))).toEqual(
    ["sft", "grpo"].flatMap((stage) => [1, 2, 3].map((step) => `${stage} ${step}`)),
  );
  expect(whole.events.filter(({ type }) => type === "reached")).toMatchObject([
    { stage: "sft", step: 3, score: "mean", atLeast: 0 },
    { stage: "grpo", step: 3, score: "greedy", atLeast: 0 },
  ]);
  // Nothing is evaluated twice: what ended a stage is the evaluation after it.
  const places = whole.outcome.evaluations.map(({ stage, when, step }) => `${stage} ${when} ${step}`);
  expect(places).toEqual(["sft before 0", "sft after 3", "grpo after 3"]);
  const { stages } = summarize({
    name: "until",
    status: "completed",
    planDigest: "",
    seconds: 0,
    stages: ["sft", "grpo"],
    records: whole.records,
  });
  expect(stages).toMatchObject([
    { steps: 3, after: { step: 3 } },
    { steps: 3, after: { step: 3 } },
  ]);
  for (const [type, stage] of [
    ["step", "sft"],
    ["reached", "sft"],
    ["stage", "grpo"],
    ["step", "grpo"],
    ["reached", "grpo"],
  ] as const) {
    const stopped = await run(stopAt(type, stage));
    expect(stopped.outcome.status).toBe("stopped");
    const resumed = await run({ outDir: stopped.outDir, resume: true });
    expect(stepsOf(resumed)).toEqual(stepsOf(whole));
    expect(resumed.outcome.policy).toEqual(whole.outcome.policy);
  }
});

test("a score that is not reached ends nothing, and is told at the stage's end", async () => {
  const { records, events } = await run({}, [
    "stages.sft.sft.until={atLeast: 2}",
    "stages.grpo.grpo.steps=2",
  ]);
  expect(records.filter(({ kind, stage }) => kind === "step" && stage === "sft")).toHaveLength(6);
  expect(events.filter(({ type }) => type === "reached" || type === "missed")).toMatchObject([
    { type: "missed", stage: "sft", step: 6, score: "mean", atLeast: 2 },
  ]);
});
