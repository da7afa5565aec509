/** One span and one duration for every scorer of a batch, from the question to its last verdict. */
import type { Verdict } from "@oarlock/rewards";
import { currentTrace } from "@oarlock/runtime";
import type { Tracer } from "@oarlock/runtime";
import type { ScoredListener } from "@oarlock/sandbox";
import type { RewardRecorders } from "./metrics.ts";

/** Starts now; scorers of a batch share threads, so that the time of one holds its wait for the others. */
export function watchScorers(tracer: Tracer, recorders: RewardRecorders): ScoredListener {
  const startMs = Date.now();
  const begun = performance.now();
  // The context of the batch: a listener is called from wherever the last verdict came in.
  const parent = currentTrace();
  return (scorer, verdicts) => {
    const seconds = (performance.now() - begun) / 1000;
    const { name, version } = scorer;
    recorders.scoring(seconds, { scorer: name });
    const failures = verdicts.filter(({ type }) => type === "failed").length;
    if (failures > 0) recorders.failures(failures, { scorer: name });
    const span = tracer.startSpan({ name: `score ${name}`, parent, startMs });
    if (span.recording) {
      span.set({
        "gen_ai.evaluation.name": name,
        "gen_ai.evaluation.score.value": mean(verdicts),
        "rl.scorer.version": version,
        "rl.scorer.failures": failures,
        "rl.sample.count": verdicts.length,
      });
    }
    span.end(startMs + seconds * 1000);
  };
}

/** Of the verdicts that are numbers (S1); undefined where none is. */
function mean(verdicts: readonly Verdict[]): number | undefined {
  const values = verdicts.flatMap((verdict) => (verdict.type === "scored" ? [verdict.value] : []));
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}
