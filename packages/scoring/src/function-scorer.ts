/**
 * A user's function that is declared deterministic, as a scorer whose scores may be remembered. The declaration is put to the
 * test with the first samples, each scored twice: a function that draws lots would make a run irreproducible unseen (D1).
 */
import { OarlockError } from "@oarlock/errors";
import { failed } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import type { ScorerPool } from "@oarlock/sandbox";
import { withoutTokens } from "./combined-scorers.ts";
import type { BatchScorer } from "./model-scorer.ts";
import type { TrajectoryInput } from "./scorer-set.ts";
import { otherVersion } from "./version.ts";

/** Samples that are scored twice. */
const CHECKED = 16;
const NONE = { name: "", version: "", deterministic: true, optional: false };

/** `pool` holds this function alone. A call throws `REWARD_NOT_DETERMINISTIC` where it is not what it is declared to be. */
export function createFunctionScorer(pool: Pick<ScorerPool, "scorers" | "score" | "close">): BatchScorer {
  const [info = NONE] = pool.scorers;
  let checked: Promise<void> | undefined;
  const ask = async (inputs: readonly TrajectoryInput[], signal?: AbortSignal): Promise<Verdict[]> => {
    const rows = await pool.score(inputs.map(withoutTokens), signal);
    return rows.map(([verdict]) => verdict ?? failed("VERDICT_MISSING", "the scorer gave no verdict", true));
  };
  const check = async (inputs: readonly TrajectoryInput[], signal?: AbortSignal): Promise<void> => {
    const [first, second] = [await ask(inputs, signal), await ask(inputs, signal)];
    const at = first.findIndex((verdict, i) => differs(verdict, second[i]));
    if (at < 0) return;
    throw new OarlockError(
      "REWARD_NOT_DETERMINISTIC",
      `reward ${info.name} is declared deterministic, and the same completion got ${said(first[at])} and then ${said(second[at])}; accepted: a function of its input alone, or no \`deterministic: true\``,
    );
  };
  return {
    info,
    async score(inputs, signal, version = "") {
      if (version !== "" && version !== info.version) {
        const verdict = otherVersion(info, version);
        return inputs.map(() => verdict);
      }
      if (inputs.length === 0) return [];
      checked ??= check(inputs.slice(0, CHECKED), signal);
      try {
        await checked;
      } catch (reason) {
        // Whoever gave up says nothing of the function: the next call checks it.
        if (signal?.aborted === true) checked = undefined;
        throw reason;
      }
      return ask(inputs, signal);
    },
    close: () => pool.close(),
  };
}

/** What may pass by itself, e.g. a deadline, says nothing of the function. */
function differs(first: Verdict, second: Verdict | undefined): boolean {
  if (second === undefined || mayPass(first) || mayPass(second)) return false;
  return said(first) !== said(second);
}

const mayPass = (verdict: Verdict): boolean => verdict.type === "failed" && verdict.retryable;

function said(verdict: Verdict | undefined): string {
  return verdict?.type === "scored" ? String(verdict.value) : `no score (${verdict?.code ?? ""})`;
}
