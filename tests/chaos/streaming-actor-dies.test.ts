/** SIGKILL of actors in mid-generation, in streaming mode: no bits are promised, and every group is still trained once. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readNewestCheckpoint } from "@oarlock/checkpoint";
import { parseMetrics, parseSamples } from "@oarlock/report";
import { groupsDropped } from "@oarlock/run";
import type { Ledger, StreamCursor } from "@oarlock/run";
import { requireNatsServer } from "@oarlock/testkit";
import { describe, expect, it } from "vitest";
import { isGenerating } from "./busy.ts";
import { chaosPlan, GROUPS_PER_STEP, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";

const program = requireNatsServer();
const PIPELINE = "pipeline={mode: streaming, maxStaleness: 3}";

describe.skipIf(program.absent)(`an actor dies in a run that streams${program.note}`, () => {
  it("T1: three times; every group is trained once, or dropped with a reason", async () => {
    const plan = await chaosPlan(STEPS, [PIPELINE, "output.samplesPerStep=1000"]);
    await using run = await DisturbedRun.start({ run: plan, natsServer: program.path });
    for (const instance of ["actor-0", "actor-1", "actor-0"]) {
      await run.moment(`${instance} generates`, () => isGenerating(run, instance));
      expect(run.signal(instance, "SIGKILL")).toBe(true);
    }
    const { outcome, digests, groupsTrained } = await run.finish().catch((reason: unknown) => {
      throw new Error(`the run failed; its logs:\n${run.logs().slice(-20_000)}`, { cause: reason });
    });
    expect(outcome).toMatchObject({ status: "completed", steps: STEPS });
    expect(digests).toHaveLength(STEPS);
    expect(groupsTrained).toBe(STEPS * GROUPS_PER_STEP);
    const steps = parseMetrics(readFileSync(join(run.outDir, "metrics.jsonl"), "utf8"));
    const most = (name: string): number => Math.max(...steps.flatMap(({ metrics }) => metrics[name] ?? []));
    // Sequences of 200 tokens outlast a step: some were begun by one version and ended by another.
    expect(most("fully_async/partial/max_partial_span")).toBeGreaterThan(0);
    expect(most("training/staleness/max")).toBeLessThanOrEqual(3);
    const places = new Set(
      parseSamples(readFileSync(join(run.outDir, "samples.jsonl"), "utf8")).map(
        ({ step, group }) => `${group?.join("/")} in step ${step}`,
      ),
    );
    const groups = new Set([...places].map((place) => place.split(" ")[0]));
    expect(places.size).toBe(STEPS * GROUPS_PER_STEP);
    expect(groups.size).toBe(places.size);
    const checkpoint = await readNewestCheckpoint({ folder: join(run.outDir, "checkpoints") });
    const { ledger, stream } = (checkpoint?.state ?? {}) as { ledger: Ledger; stream: StreamCursor };
    expect(stream).toEqual({ issued: groupsTrained + groupsDropped(ledger), outstanding: [] });
    expect(run.child("actor-0").restarts).toBe(2);
    expect(run.child("actor-1").restarts).toBe(1);
  });
});
