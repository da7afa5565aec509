/**
 * Lockstep's arithmetic (architecture §3): which policy makes the batch of a step, and how far work may run ahead.
 *
 *   policy(k) = base + max(0, k − η)        issue k  ⇔  k ≤ trained + η
 *
 * The second follows from the first: work of step k can start once its policy exists. Q1 follows from the second:
 * steps trained … trained + η are in flight, so at most (η + 1) · B groups.
 */

/** The part of a stage's plan that pacing needs. */
export interface LockstepPlan {
  /** η: how many steps generation may run ahead of training. 0 = strictly on-policy. */
  readonly lag: number;
  readonly steps: number;
  /** Number of the policy at the stage's start. */
  readonly basePolicy: number;
}

/** Number of the policy version that generates the batch of `step` (0-based in the stage). D1. */
export function policyNumberOfStep(plan: LockstepPlan, step: number): number {
  return plan.basePolicy + Math.max(0, step - plan.lag);
}

/** The step after the last one whose work may be issued when `trained` steps of the stage are done. */
export function issueLimit(plan: LockstepPlan, trained: number): number {
  return Math.min(plan.steps, trained + plan.lag + 1);
}

/** The oldest policy number that untrained work of the stage still needs: nothing from it on may be pruned (T3). */
export function oldestPolicyNeeded(plan: LockstepPlan, trained: number): number {
  return policyNumberOfStep(plan, trained);
}
