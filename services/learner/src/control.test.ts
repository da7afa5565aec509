import { expect, test } from "vitest";
import { START } from "@oarlock/run";
import { createControl } from "./control.ts";

test("L1: whoever waits for a checkpoint hears that the run is over", async () => {
  const control = createControl();
  const [first, second] = [control.nextCheckpoint(), control.nextCheckpoint()];
  const info = { incarnation: 1, step: 3, path: "p", digest: "d" };
  control.checkpointed(info);
  expect(await Promise.all([first, second])).toEqual([info, info]);
  const third = control.nextCheckpoint();
  control.dispatch({ type: "ended", phase: "failed", message: "the bus is gone" });
  await expect(third).rejects.toMatchObject({ code: "RUN_ENDED" });
});

test("T3: a learner that resumes stands where its checkpoint does before anything is restored, not at the run's start", () => {
  const position = { ...START, stage: 1, step: 54, policy: 94, begun: true };
  const policy = { number: 94, digest: "d" };
  const control = createControl({ position, policy });
  expect(control.state()).toMatchObject({ phase: "starting", position, policy, lastCheckpointStep: 94 });
  expect(createControl().state()).toMatchObject({ position: START, lastCheckpointStep: 0 });
});
