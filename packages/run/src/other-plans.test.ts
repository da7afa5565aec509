/** D1b, L1: who follows another plan is named, by plan, for as long as it is heard. */
import { expect, test } from "vitest";
import { describeOtherPlans, hearOtherPlan } from "./other-plans.ts";
import type { OtherPlans } from "./other-plans.ts";

const OWN = "a".repeat(64);
const hear = (known: OtherPlans, instance: string, plan: string, heardMs = 0): OtherPlans =>
  hearOtherPlan(known, { instance, planDigest: plan.repeat(64), heardMs });

test("names every process once, by its plan, and the run's own plan", () => {
  const all = [["actor-1", "b"] as const, ["reward-0", "c"] as const, ["actor-0", "b"] as const];
  const known = all.reduce((sum, [instance, plan]) => hear(sum, instance, plan), hear([], "actor-1", "c"));
  expect(describeOtherPlans(known, OWN, 0)).toBe(
    "this run's plan is aaaaaaaaaaaa, and who follows another hands its work back: " +
      "actor-0, actor-1 (plan bbbbbbbbbbbb), reward-0 (plan cccccccccccc)",
  );
});

test("forgets who is silent, and never remembers without bound (Q1)", () => {
  const known = hear(hear([], "actor-0", "b", 0), "actor-1", "b", 30_000);
  expect(describeOtherPlans(known, OWN, 61_000)).toMatch(/back: actor-1 \(plan b{12}\)$/);
  expect(describeOtherPlans(known, OWN, 91_000)).toBe("");
  const many = Array.from({ length: 200 }, (_, i) => `actor-${i}`);
  const heard = many.reduce<OtherPlans>((sum, instance) => hear(sum, instance, "b"), []);
  expect(heard).toHaveLength(64);
  expect(describeOtherPlans(heard, OWN, 0)).toMatch(/actor-143, … \(64\) \(plan b{12}\)$/);
});
