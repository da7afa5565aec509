/**
 * The loss of a process reward model on labelled steps (Lightman et al., "Let's Verify Step by Step", arXiv:2305.20050;
 * TRL's PRMTrainer, whose two logits are here their difference): with the score s read at the end of a step and p = σ(s) the
 * probability that the step is right,
 *
 *   −[c · log p + (1 − c) · log(1 − p)] = c · softplus(−s) + (1 − c) · softplus(s)
 *
 * c is 1 for a right step and 0 for a wrong one; between them it is a share, as of continuations that reach the answer
 * (Math-Shepherd, arXiv:2312.08935). In plain numbers: the reference that the graph form is held against.
 */
import { softplus } from "./softplus.ts";

export interface LabelledScore {
  /** s. */
  readonly score: number;
  /** c, from 0 to 1. */
  readonly label: number;
}

/** Binary cross-entropy of one step, nats. */
export function stepLoss({ score, label }: LabelledScore): number {
  return label * softplus(-score) + (1 - label) * softplus(score);
}

/** Whether a step counts as right where it has to be one or the other. */
export const isRight = (label: number): boolean => label >= 0.5;
