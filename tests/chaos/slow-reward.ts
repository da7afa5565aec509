/** A reward that takes its time, so that a worker can die while it judges. Its value depends on the text alone (D1). */
import { setTimeout as delay } from "node:timers/promises";
import { defineReward } from "@oarlock/rewards";

const JUDGE_MS = 15;

export const reward = defineReward(async ({ completion }) => {
  await delay(JUDGE_MS);
  return (completion.match(/7/g) ?? []).length / (completion.length + 1);
});
