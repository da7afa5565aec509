/** A learner that is superseded while it starts: between its claim and its first look at the streams. */
import { createMemoryBus, subjects } from "@oarlock/bus";
import { openLearner } from "@oarlock/learner";
import { topologyOf } from "@oarlock/run";
import { Lifecycle, silentLog, systemClock } from "@oarlock/runtime";
import { temporaryFolder } from "@oarlock/testkit";
import { openModel } from "@oarlock/workload";
import { expect, onTestFinished, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";
import { beforeStoring } from "./publishing-bus.ts";

test("F1: it takes nothing away that its successor has issued", async () => {
  const run = additionPlan();
  const uid = "superseded-start";
  const outDir = temporaryFolder("superseded-start");
  const bus = createMemoryBus();
  onTestFinished(() => bus.close());
  const model = await openModel(run.spec.model, { baseDir: outDir, seed: run.spec.seed });
  const open = async (instance: string, own = bus) => {
    const lifecycle = new Lifecycle({ name: instance });
    onTestFinished(() => lifecycle.end("the test is over"));
    const config = { instance, host: "127.0.0.1", port: 0, graceMs: 0 };
    const given = { config, run, uid, bus: own, model, baseDir: outDir, outDir, lifecycle };
    return openLearner({ ...given, resume: true, clock: systemClock, log: silentLog });
  };
  let claimed = (): void => undefined;
  let goOn = (): void => undefined;
  const isClaimed = new Promise<void>((resolve) => (claimed = resolve));
  const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
  // Policies are opened after the claim and before the streams are read.
  const slow = {
    ...beforeStoring(bus, async () => undefined),
    async objects(config: Parameters<typeof bus.objects>[0]) {
      claimed();
      await mayGoOn;
      return bus.objects(config);
    },
  };
  const first = open("learner-first", slow);
  await isClaimed;
  await open("learner-second");
  const work = await bus.stream(topologyOf(run, subjects(uid)).streams.work);
  await work.publish(subjects(uid).workRollout, new Uint8Array(1));
  goOn();
  await first;
  expect((await work.info()).messages).toBe(1);
});
