/**
 * Traces of a run on separate processes over JetStream, read back from a real Jaeger: from a prompt to the gradient step that
 * used it, though no process saw all of it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startNatsServer } from "@oarlock/bus";
import { startProcessesRun } from "@oarlock/cli/processes";
import { parseMetrics, parseSamples } from "@oarlock/report";
import { requireNatsServer, requireTool, startJaeger, temporaryFolder } from "@oarlock/testkit";
import type { JaegerSpan } from "@oarlock/testkit";
import { describe, expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const [program, jaegerBinary] = [requireNatsServer(), requireTool("jaeger")];
const UID = "traced-apart";
const STEP = 3;

const places = (spans: readonly JaegerSpan[]): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    spans.map(({ name, resource }) => [
      name.replace(/ oarlock\..*/, ""),
      String(resource["service.instance.id"]).replace(/-\d+$/, ""),
    ]),
  );

describe.skipIf(program.absent || jaegerBinary.absent)(
  `traces across processes${program.note}${jaegerBinary.note}`,
  () => {
    test("lead from the prompt over actor and reward worker to the gradient step, and back", async () => {
      const jaeger = await startJaeger(jaegerBinary.path, temporaryFolder("jaeger"));
      onTestFinished(() => jaeger.stop());
      const nats = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
      onTestFinished(() => nats.stop("SIGKILL"));
      const [plan, outDir] = [additionPlan(["compute.actors=2"]), temporaryFolder("traced")];
      writeFileSync(join(outDir, "plan.json"), JSON.stringify({ uid: UID, baseDir: outDir, run: plan }));
      const environment = {
        ...process.env,
        NATS_URL: nats.url,
        OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl,
        OTEL_BSP_SCHEDULE_DELAY: "200",
      };
      await (
        await startProcessesRun(plan, { outDir, uid: UID, environment })
      ).finished;
      const read = (name: string): string => readFileSync(join(outDir, name), "utf8");
      const atStep = (of: { readonly stage?: string; readonly step: number; readonly kind: string }) =>
        of.stage === "grpo" && of.step === STEP;
      const record = parseMetrics(read("metrics.jsonl")).find((of) => of.kind === "step" && atStep(of));
      const sample = parseSamples(read("samples.jsonl")).find((of) => of.kind === "rollout" && atStep(of));
      const [groupTrace, stepTrace] = [sample?.traceId ?? "", record?.traceId ?? ""];

      const group = await jaeger.wholeTrace(groupTrace, (spans) =>
        ["rollout group", "decode", "score short", "admit"].every((name) =>
          spans.some((span) => span.name === name),
        ),
      );
      expect(places(group)).toMatchObject({
        "rollout group": "learner",
        prefill: "actor",
        decode: "actor",
        "score answer": "reward",
        "score short": "reward",
        admit: "learner",
      });
      // One trace: whoever made a span, its parent is there.
      const ids = new Set(group.map(({ spanId }) => spanId));
      const orphans = group.filter(({ parentSpanId }) => parentSpanId !== "" && !ids.has(parentSpanId));
      expect(orphans.map(({ name }) => name)).toEqual([]);
      expect(group.filter(({ parentSpanId }) => parentSpanId === "").map(({ name }) => name)).toEqual([
        "rollout group",
      ]);

      const step = await jaeger.wholeTrace(stepTrace, (spans) =>
        spans.some(({ name }) => name === "train step"),
      );
      const root = group.find(({ name }) => name === "rollout group");
      const training = step.find(({ name }) => name === "train step");
      expect(root?.links).toContainEqual(
        expect.objectContaining({
          traceId: stepTrace,
          attributes: expect.objectContaining({ "rl.link": "used by", "rl.train.step": STEP }),
        }),
      );
      expect(training?.links.filter(({ traceId }) => traceId === groupTrace)).toHaveLength(1);
      expect(training?.links).toHaveLength(4); // one for each group of the step
    });
  },
);
