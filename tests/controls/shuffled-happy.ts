/**
 * A control for examples/stories.yaml: each sample gets the verdict of the sample scored before it, so that rewards are as
 * frequent as they were and say nothing about the text. A policy that still became happy would learn from something else
 * than its reward. `npm run controls -- happy` runs it (the order of scoring, and so this run, is not reproducible).
 * Held-out stories stay at most .15 happy: measured .094 before and .020 after, with seed 0.
 */
import { defineReward, type RewardFunction } from "@oarlock/rewards";

let before = 0;

export const reward: RewardFunction = defineReward(({ completion }) => {
  const given = before;
  before = completion.includes(" happy") ? 1 : 0;
  return given;
});
