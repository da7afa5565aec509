/** Traces of reward models and PPO, read back from a real Jaeger: every update and every forward pass is in its step's trace. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLocalRun } from "@oarlock/cli/local";
import { parseMetrics } from "@oarlock/report";
import type { MetricsRecord } from "@oarlock/report";
import { requireTool, startJaeger } from "@oarlock/testkit";
import type { Jaeger, JaegerSpan } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { rlhfPlan, writePairs } from "./rlhf-plan.ts";
import { ONLY_FLUSHED } from "./traced-run.ts";

const binary = requireTool("jaeger");

/** Name of each span with its parent's name; what happens in the background or for the next step left out. */
function shape(spans: readonly JaegerSpan[]): string[] {
  const names = new Map(spans.map(({ spanId, name }) => [spanId, name]));
  const named = spans.map(({ name, parentSpanId }) => `${names.get(parentSpanId) ?? "-"} > ${name}`);
  return named.filter((one) => !/publish policy|checkpoint/.test(one)).toSorted();
}

describe.skipIf(binary.absent)(`traces of RLHF in Jaeger${binary.note}`, () => {
  let folder: string;
  let jaeger: Jaeger;
  let records: readonly MetricsRecord[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "oarlock-traces-rlhf-"));
    writePairs(folder);
    jaeger = await startJaeger(binary.path, folder);
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl, ...ONLY_FLUSHED };
    const local = await startLocalRun(await rlhfPlan(folder), {
      outDir: folder,
      baseDir: folder,
      environment,
    });
    await local.finished;
    records = parseMetrics(await readFile(join(folder, "metrics.jsonl"), "utf8"));
  });
  afterAll(async () => {
    await jaeger?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const traceOf = (
    stage: string,
    kind: MetricsRecord["kind"],
    root: string,
  ): Promise<readonly JaegerSpan[]> => {
    const record = records.findLast((one) => one.stage === stage && one.kind === kind);
    return jaeger.wholeTrace(record?.traceId ?? "", (spans) => spans.some(({ name }) => name === root));
  };

  test("a step of PPO: log-probs and values once, then both models' updates, each with its parts", async () => {
    const updates = 4; // 2 epochs of 2 mini-batches
    const parts = (name: string): string[] =>
      Array.from({ length: updates }, () => [`${name} > grad`, `${name} > apply`]).flat();
    expect(shape(await traceOf("ppo", "step", "train step"))).toEqual(
      [
        "- > train step",
        ...["collect", "policy logprobs", "reference logprobs", "values", "advantages"].map(
          (name) => `train step > ${name}`,
        ),
        ...["update critic", "update", "snapshot"].map((name) => `train step > ${name}`),
        ...parts("update critic"),
        ...parts("update"),
      ].toSorted(),
    );
  });

  test("a step of a reward model, and the verdict of its held-out pairs", async () => {
    expect(shape(await traceOf("rm", "step", "train step"))).toEqual(
      [
        "- > train step",
        "train step > update reward model",
        "update reward model > grad",
        "update reward model > apply",
        "train step > snapshot",
      ].toSorted(),
    );
    const evaluation = await traceOf("rm", "evaluation", "evaluation");
    expect(shape(evaluation)).toEqual(["- > evaluation", "evaluation > score pairs"]);
    const accuracy = records.find(({ kind, stage }) => kind === "evaluation" && stage === "rm")?.metrics[
      "val-core/held-out/rm/accuracy"
    ];
    expect(evaluation.find(({ name }) => name === "evaluation")?.attributes).toMatchObject({
      "rl.stage.name": "rm",
      "rl.reward_model.accuracy": accuracy,
    });
  });
});
