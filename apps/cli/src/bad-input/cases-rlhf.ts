/** Traps of reward models, gold scorers and guards; part of the table in `cases.ts`. */
import type { BadInput } from "./cases.ts";

/** A reward model's stage in front of the others. */
const rewardModel = (options: string): readonly [string, string] => [
  "  stages:\n",
  "  stages:\n    - name: rm\n      type: reward-model\n      reward-model: " +
    `{ data: { type: task, task: { name: addition, limit: 99 } }, steps: 20, ${options} }\n`,
];

export const RLHF_CASES: readonly BadInput[] = [
  {
    title: "rankings without a ranking",
    change: [rewardModel("loss: plackett-luce")],
    says: ["PREFERENCES_MISSING", "ranking (a list, the best first)"],
  },
  {
    title: "a pair of three answers",
    change: [rewardModel("answers: 3")],
    says: ["ANSWERS_NOT_A_PAIR", "plackett-luce or all-pairs"],
  },
  {
    title: "labelled steps without labels",
    change: [rewardModel("loss: binary-cross-entropy")],
    says: ["PREFERENCES_MISSING", "completions (a list of steps) and labels"],
  },
  {
    title: "a margin between labelled steps",
    change: [rewardModel("loss: binary-cross-entropy, margin: 1")],
    says: ["STEP_LABELS_WITHOUT_EFFECT", "no margin, or loss: bradley-terry"],
  },
  {
    title: "the end of steps that pairs do not have",
    change: [rewardModel('stepEnd: "."')],
    says: ["reward-model.stepEnd", "loss: binary-cross-entropy"],
  },
  {
    title: "a gold scorer that is trained on",
    set: ["stages.grpo.grpo.rewards.answer.heldOut=true", "stages.grpo.grpo.rewards.answer.weight=1"],
    says: ["HELD_OUT_TRAINED_ON", "weight: 0"],
  },
  {
    title: "a guard without its gold scorer",
    set: ["stages.grpo.grpo.guards=[{name: hacked, watch: reward-hacking, reaction: stop}]"],
    says: ["GUARD_GOLD_UNKNOWN", "heldOut: true"],
  },
  {
    title: "a guard that raises a coefficient of 0",
    set: [
      "stages.grpo.grpo.kl={placement: loss, coefficient: 0}",
      "stages.grpo.grpo.guards=[{name: far, watch: kl, reaction: raise-beta}]",
    ],
    says: ["GUARD_WITHOUT_BETA", "stop or roll-back"],
  },
  {
    title: "a stage that waits for a score that nothing gives",
    set: ["stages.grpo.grpo.until={atLeast: 0.5}"],
    says: ["UNTIL_UNSEEN", "evaluation: {every: N, …}"],
  },
];
