/** What traces say when something goes wrong, read back from a real Jaeger: work that fails, and a run that is told to stop. */
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseMetrics } from "@oarlock/report";
import { createLog } from "@oarlock/runtime";
import { repositoryRoot, requireTool, startJaeger } from "@oarlock/testkit";
import type { Jaeger } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failingOnce } from "./failing-bus.ts";
import { newFolder, ONLY_FLUSHED, run } from "./traced-run.ts";

const jaegerBinary = requireTool("jaeger");

const LONG_RUN = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: long }
spec:
  model:
    init:
      hiddenSize: 32
      intermediateSize: 64
      layers: 1
      heads: 2
      maxPositions: 16
      tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } }
  stages:
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 100000
        promptsPerStep: 4
        groupSize: 4
        sampling: { maxNewTokens: 4 }
        rewards: [{ name: answer, type: exact, weight: 1, exact: {} }]
`;

describe.skipIf(jaegerBinary.absent)(`traces when something goes wrong${jaegerBinary.note}`, () => {
  let jaeger: Jaeger;
  beforeAll(async () => {
    jaeger = await startJaeger(jaegerBinary.path, await newFolder());
  });
  afterAll(async () => jaeger?.stop());

  test("D1: a message that is handed back shows both attempts, the first as failed, and the log names the trace", async () => {
    const lines: Record<string, unknown>[] = [];
    const log = createLog({ level: "warn", write: (line) => void lines.push(JSON.parse(line)) });
    const again = await run({
      environment: { OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl },
      busFor: (bus, service) => (service === "reward-0" ? failingOnce(bus, 3) : bus),
      log,
    });
    const undisturbed = await run({ environment: {} });
    expect(again.digests).toEqual(undisturbed.digests);
    const [line] = lines.filter(({ message }) => message === "handed work back");
    const spans = await jaeger.wholeTrace(String(line?.["trace_id"]), (all) =>
      all.some(({ parentSpanId }) => parentSpanId === ""),
    );
    const attempts = spans
      .filter(({ name }) => name === "process oarlock.{run}.trajectory.generated")
      .toSorted((a, b) => a.startMs - b.startMs);
    expect(
      attempts.map(({ status, attributes }) => [status, attributes["messaging.nats.redelivery_count"]]),
    ).toEqual([
      [2, 0],
      [0, 1],
    ]);
    expect(attempts[0]?.attributes["error.type"]).toBe("BUS_TEST_FAULT");
    expect(spans.filter(({ name }) => name === "admit")).toHaveLength(1);
  });

  test("SIGTERM flushes: the traces of a run that is told to stop arrive, and it ends in time", async () => {
    const folder = await newFolder();
    await writeFile(join(folder, "run.yaml"), LONG_RUN);
    const child = spawn(
      process.execPath,
      [
        join(repositoryRoot(), "apps/cli/bin/oarlock.js"),
        "run",
        join(folder, "run.yaml"),
        "--out",
        join(folder, "out"),
      ],
      {
        env: {
          ...process.env,
          OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl,
          OTEL_SERVICE_NAME: "sigterm",
          ...ONLY_FLUSHED,
        },
        stdio: "ignore",
      },
    );
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    const path = join(folder, "out", "metrics.jsonl");
    const steps = async (): Promise<number> =>
      (await readFile(path, "utf8").catch(() => "")).split("\n").filter((line) => line !== "").length;
    while ((await steps()) < 3 && child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 50));
    const toldMs = performance.now();
    child.kill("SIGTERM");
    await ended;
    expect(performance.now() - toldMs).toBeLessThan(10_000);
    const records = parseMetrics(await readFile(path, "utf8"));
    expect(records.length).toBeGreaterThanOrEqual(3);
    const traces = await jaeger.traceIds("sigterm", "train step");
    expect(traces.toSorted()).toEqual(records.map(({ traceId }) => traceId ?? "").toSorted());
  });
});
