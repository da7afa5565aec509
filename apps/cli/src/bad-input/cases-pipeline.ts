/** Fields of one pipeline mode in the other; part of the table in `cases.ts`. */
import type { BadInput } from "./cases.ts";

export const PIPELINE_CASES: readonly BadInput[] = [
  {
    title: "lag in streaming mode",
    set: ["pipeline={mode: streaming, lag: 1}"],
    says: ["spec.pipeline.lag: lag is of mode: lockstep only", "maxStaleness with mode: streaming"],
  },
  {
    title: "staleness in lockstep",
    set: ["pipeline={maxStaleness: 4}"],
    says: ["maxStaleness and correction are of mode: streaming only"],
  },
  {
    title: "bounds of a correction that there is not",
    set: ["pipeline={mode: streaming, correction: {level: none, maxRatio: 3}}"],
    says: ["level none has no bounds"],
  },
];
