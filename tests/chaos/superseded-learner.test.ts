/**
 * SIGSTOP of the learner between write and rename of a checkpoint; a successor takes over and finishes the run; SIGCONT. The
 * one that comes back finds that it is superseded, and nothing that it does has an effect (F1).
 */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startNatsServer } from "@oarlock/bus";
import { sleep } from "@oarlock/runtime";
import { requireNatsServer, temporaryFolder } from "@oarlock/testkit";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { service } from "../integration/service-child.ts";
import type { Service } from "../integration/service-child.ts";
import { isWritingCheckpoint } from "./busy.ts";
import { CHAOS_BASE, chaosPlan, STEPS } from "./chaos-plan.ts";
import { stepDigests } from "./disturbed-run.ts";

const program = requireNatsServer();

/** Stops the learner while it writes a checkpoint: tries until the writing is still there when it stands. */
async function stopInMidWrite(learner: Service, outDir: string): Promise<void> {
  for (let tries = 0; tries < 20_000; tries++) {
    if (isWritingCheckpoint(outDir)) {
      learner.child.kill("SIGSTOP");
      await sleep(50);
      if (isWritingCheckpoint(outDir)) return;
      learner.child.kill("SIGCONT");
    }
    await sleep(1);
  }
  throw new Error(`never caught in mid-write:\n${learner.log.join("\n")}`);
}

describe.skipIf(program.absent)(`a learner is superseded${program.note}`, () => {
  it("F1: and what it does afterwards has no effect", async () => {
    const outDir = temporaryFolder("superseded");
    const server = await startNatsServer({ path: program.path, folder: temporaryFolder("nats") });
    onTestFinished(() => server.stop("SIGKILL"));
    const run = await chaosPlan(STEPS);
    writeFileSync(join(outDir, "plan.json"), JSON.stringify({ uid: "fenced-1", baseDir: CHAOS_BASE, run }));
    const environment = {
      NATS_URL: server.url,
      OARLOCK_PLAN: join(outDir, "plan.json"),
      OARLOCK_OUT: outDir,
    };
    service("actor", environment);
    service("reward", environment);
    const first = service("learner", { ...environment, OARLOCK_INSTANCE: "learner-first" });
    await stopInMidWrite(first, outDir);
    const second = service("learner", { ...environment, OARLOCK_INSTANCE: "learner-second" });
    expect(await second.exit, second.log.join("\n")).toBe(0);
    expect(stepDigests(outDir)).toEqual(inject("calmDigests"));
    const before = readdirSync(join(outDir, "checkpoints"), { recursive: true, encoding: "utf8" }).toSorted();
    first.child.kill("SIGCONT");
    // 3: it is told apart from failures that a restart would cure.
    expect(await first.exit, first.log.join("\n")).toBe(3);
    expect(first.log.join("\n")).toMatch(/(CHECKPOINT|POLICY)_FENCED/);
    expect(first.lines.join("\n")).not.toContain('"type":"ended"');
    expect(stepDigests(outDir)).toEqual(inject("calmDigests"));
    const after = readdirSync(join(outDir, "checkpoints"), { recursive: true, encoding: "utf8" }).toSorted();
    expect(after.filter((name) => !before.includes(name))).toEqual([]);
  });
});
