/** The machine's clock jumps by days, forwards and backwards, while a run trains: over memory and over JetStream (D1, D1c). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { connectJetStreamBus, startNatsServer } from "@oarlock/bus";
import type { Bus } from "@oarlock/bus";
import { startLocalRun } from "@oarlock/cli/local";
import type { LocalRunOptions } from "@oarlock/cli/local";
import { parseMetrics } from "@oarlock/report";
import { systemClock } from "@oarlock/runtime";
import type { Clock } from "@oarlock/runtime";
import { requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";

const program = requireNatsServer();
const DAY_MS = 86_400_000;
const JUMPS_MS = [0, 3 * DAY_MS, -40 * DAY_MS, 1_000, -1_000, 400 * DAY_MS];

/** Another time at every look; durations and timers are as ever. */
function jumpingClock(): { readonly clock: Clock; readonly looks: () => number } {
  let looks = 0;
  const nowMs = (): number => systemClock.nowMs() + (JUMPS_MS[looks++ % JUMPS_MS.length] ?? 0);
  return { clock: { ...systemClock, nowMs }, looks: () => looks };
}

async function digestsOf(options: Partial<LocalRunOptions> = {}): Promise<readonly string[]> {
  const outDir = temporaryFolder("clock");
  const local = await startLocalRun(additionPlan(), { outDir, baseDir: outDir, uid: "clock-1", ...options });
  const { status } = await local.finished;
  expect(status).toBe("completed");
  const records = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8"));
  return records.filter(({ kind }) => kind === "step").map(({ policyDigest }) => policyDigest);
}

test("D1: over memory", async () => {
  const { clock, looks } = jumpingClock();
  expect(await digestsOf({ clock })).toEqual(await digestsOf());
  expect(looks()).toBeGreaterThan(JUMPS_MS.length);
});

test.skipIf(program.absent)(`D1: over JetStream${program.note}`, async () => {
  const server = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
  onTestFinished(() => server.stop("SIGKILL"));
  const bus: Bus = await connectJetStreamBus({ servers: server.url });
  onTestFinished(() => bus.close());
  const { clock, looks } = jumpingClock();
  expect(await digestsOf({ clock, busFor: () => bus })).toEqual(await digestsOf());
  expect(looks()).toBeGreaterThan(JUMPS_MS.length);
});
