/** X1: the hint after a run that broke off is a command that works. */
import { OarlockError } from "@oarlock/errors";
import { expect, test } from "vitest";
import { nextSteps } from "./next-step.ts";

const of = (failure?: unknown) =>
  nextSteps({ folder: "runs/a", source: "/w/run.yaml", set: ["seed=1", "name='a'"], failure });

const inFolder = (folder: string, failure?: unknown) =>
  nextSteps({ folder, source: "/my files/run.yaml", set: [], failure });

test("a run that was stopped, or met what may pass, is resumed", () => {
  expect(of()).toEqual(["continue: oarlock resume runs/a"]);
  expect(of(new OarlockError("STALLED", "nothing moved"))).toEqual(["continue: oarlock resume runs/a"]);
});

test("what a resume would meet again is mended and planned anew into the same folder", () => {
  const cause = new OarlockError("REWARDS_FAILED", "none of 8 samples could be scored");
  const [mend, wait] = of(new OarlockError("CHILD_FAILED", "the learner ended", { cause }));
  expect(mend).toBe(
    String.raw`next     mend the reward, then: oarlock run /w/run.yaml --out runs/a --set seed=1 --set 'name='\''a'\'''`,
  );
  expect(wait).toContain("oarlock resume runs/a");
  expect(of(new OarlockError("GUARD_STOPPED", "KL"))).toHaveLength(1);
});

test("paths with spaces are words of the command", () => {
  expect(inFolder("my runs/k")).toEqual(["continue: oarlock resume 'my runs/k'"]);
  expect(inFolder("my runs/k", new OarlockError("GUARD_STOPPED", "KL"))[0]).toContain(
    "oarlock run '/my files/run.yaml' --out 'my runs/k'",
  );
});

test("checkpoints that are all damaged are restored or given up, and then a resume works", () => {
  const cause = new OarlockError("CHECKPOINT_NONE_VALID", "no checkpoint can be read");
  expect(inFolder("runs/a", new OarlockError("CHILD_FAILED", "the learner ended", { cause }))).toEqual([
    "next     restore a checkpoint, or remove runs/a/checkpoints to begin again, then: oarlock resume runs/a",
  ]);
});
