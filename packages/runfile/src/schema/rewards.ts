/** The `rewards` list: named scorers with weights. Knows their options, not how they score. */
import * as z from "zod";
import type { RewardSpec } from "../run-file.ts";
import { LENGTH_UNITS, MODEL_SCORE_SCOPES, NUMERIC_EXTRACTIONS, REWARD_TYPES } from "../vocabulary.ts";
import { rewardExtras, rewardServiceBlocks } from "./reward-services.ts";
import {
  choice,
  closed,
  integer,
  list,
  name,
  namedList,
  real,
  ruled,
  scorerReference,
  text,
  union,
} from "./primitives.ts";

const MAX_REWARDS = 16;
/** Weights and tolerances beyond this are typing errors. */
const LARGE = 1e6;

const field = text(128)
  .describe("Part of the row that holds the expected value (default answer).")
  .optional();
const caseSensitive = z.boolean().describe("Whether case counts.").optional();

const blocks = {
  exact: closed({ field, caseSensitive, trim: z.boolean().describe("Trim white space first.").optional() }),
  regex: closed({
    pattern: text(1024).describe("JavaScript regular expression; 1 where it matches."),
    flags: z
      .string()
      .max(8)
      .regex(/^[imsuv]*$/)
      .describe("Flags out of i, m, s, u, v.")
      .optional(),
  }),
  contains: closed({
    text: text(1024).describe("Literal text to look for; without it, the row's field.").optional(),
    field,
    caseSensitive,
  }),
  numeric: closed({
    field,
    extract: choice(NUMERIC_EXTRACTIONS).describe("Where the number is in the completion.").optional(),
    absoluteTolerance: real(0, LARGE).describe("Accepted absolute difference.").optional(),
    relativeTolerance: real(0, 1).describe("Accepted relative difference.").optional(),
  }),
  format: closed({
    tags: list(text(64).regex(/^[A-Za-z][\w-]*$/), 1, 16).describe(
      "Tags that must follow one another, e.g. think, answer.",
    ),
  }),
  length: closed({
    unit: choice(LENGTH_UNITS).describe("What is counted.").optional(),
    min: integer(0).describe("Shortest length that earns 1.").optional(),
    max: integer(1).describe("Longest length that earns 1."),
    softness: integer(0).describe("Units over which the reward falls to 0 outside the range.").optional(),
  }),
  function: closed({
    file: text(1024).describe("TypeScript or JavaScript file, relative to the run file."),
    export: text(64).describe("Name of the exported function (default: reward).").optional(),
    deterministic: z.boolean().describe("Whether a sample's score is always the same.").optional(),
  }),
  model: ruled(
    closed({
      from: scorerReference(),
      scope: choice(MODEL_SCORE_SCOPES).describe("What its scores are of.").optional(),
      stepEnd: text(64).describe("What a step ends with (default a newline).").optional(),
    }),
    [
      {
        rule: "!has(self.stepEnd) || (has(self.scope) && self.scope == 'step')",
        message: "only scores of steps need to know what ends one",
        path: ["stepEnd"],
        accepted: "scope: step beside it, or no stepEnd",
        holds: ({ scope, stepEnd }) => stepEnd === undefined || scope === "step",
      },
    ],
  ),
};

const reward: z.ZodType<RewardSpec> = union(
  closed({
    name: name().describe("Name in metrics and samples."),
    type: choice(REWARD_TYPES).describe("Kind of scorer."),
    weight: real(-LARGE, LARGE).describe("Factor in the total reward; 0 only observes.").optional(),
    optional: z.boolean().describe("A failure of this scorer does not fail the sample.").optional(),
    heldOut: z.boolean().describe("A gold scorer: observed, never trained on.").optional(),
    timeoutMs: integer(1, 3_600_000).describe("Deadline for one sample, in milliseconds.").optional(),
    ...rewardExtras,
    exact: blocks.exact.describe("1 where the completion is the expected text.").optional(),
    regex: blocks.regex.describe("1 where the pattern matches.").optional(),
    contains: blocks.contains.describe("1 where the text occurs.").optional(),
    numeric: blocks.numeric.describe("1 where the number is right.").optional(),
    format: blocks.format.describe("1 where the completion has the wanted parts.").optional(),
    length: blocks.length.describe("1 inside a range of lengths.").optional(),
    function: blocks.function.describe("A function of yours.").optional(),
    model: blocks.model.describe("The score of a reward model.").optional(),
    ...rewardServiceBlocks,
  }),
  REWARD_TYPES,
  {
    optionalBlocks: ["exact", "numeric"],
    companion: { name: "service", types: ["http", "grpc", "judge"] },
  },
);

/** The named vector of scorers. */
export const rewardsSchema: z.ZodType<readonly RewardSpec[]> = namedList(reward, 1, MAX_REWARDS).describe(
  "Scorers; the total reward is the weighted sum.",
);
