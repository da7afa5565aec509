/** Right or wrong, as `exact` says it, by a judge that is usually quick and now and then very slow. */
import { setTimeout as delay } from "node:timers/promises";
import { defineReward } from "@oarlock/rewards";

const QUICK_MS = 2;
const SLOW_MS = 1_500;
/** Share of calls that are slow: about two in a batch of 512. */
const SLOW_SHARE = 0.004;

export const reward = defineReward(async ({ completion, row }) => {
  await delay(Math.random() < SLOW_SHARE ? SLOW_MS : QUICK_MS);
  return completion.trim() === String(row["answer"]) ? 1 : 0;
});
