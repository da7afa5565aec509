/**
 * A deterministic scorer that remembers: the same content under the same version has the same score, so that asking again
 * changes no bits. Failures are not remembered (S1). Bounded; the longest unused goes first.
 */
import type { Verdict } from "@oarlock/rewards";
import { canonicalJson } from "@oarlock/runfile";
import { sha256Hex } from "@oarlock/runtime";
import { ofOneVersion } from "./external/one-version.ts";
import type { BatchScorer } from "./model-scorer.ts";
import type { TrajectoryInput } from "./scorer-set.ts";

/** Of about 200 bytes each. */
export const CACHED_SCORES = 16_384;

/** The scorer with its scores remembered by content, `entries` at most; another version of it forgets them all. */
export function cachedScorer(
  scorer: BatchScorer,
  { entries = CACHED_SCORES }: { readonly entries?: number } = {},
): BatchScorer {
  /** In the order of their last use. */
  const cache = new Map<string, Verdict>();
  let cachedVersion = "";
  let [hits, misses] = [0, 0];
  const recall = (key: string): Verdict | undefined => {
    const verdict = cache.get(key);
    if (verdict === undefined) return undefined;
    cache.delete(key);
    cache.set(key, verdict);
    return verdict;
  };
  const remember = (key: string, verdict: Verdict | undefined, pinned: string): void => {
    if (verdict?.type !== "scored") return;
    if (pinned === "") {
      const version = verdict.version ?? scorer.info.version;
      if (version !== cachedVersion) cache.clear();
      cachedVersion = version;
    }
    cache.set(key, verdict);
    const [oldest] = cache.keys();
    if (cache.size > entries && oldest !== undefined) cache.delete(oldest);
  };
  const ask = async (
    inputs: readonly TrajectoryInput[],
    signal: AbortSignal | undefined,
    pinned: string,
  ): Promise<Verdict[]> => {
    const keys = inputs.map((input) => contentKey(input, pinned));
    const verdicts = keys.map(recall);
    // The same content twice in one question is asked once.
    const asked = new Map<string, TrajectoryInput>();
    inputs.forEach((input, i) => {
      const key = keys[i];
      if (key !== undefined && verdicts[i] === undefined && !asked.has(key)) asked.set(key, input);
    });
    hits += inputs.length - asked.size;
    misses += asked.size;
    if (asked.size === 0) return verdicts.flatMap((verdict) => verdict ?? []);
    const given = await scorer.score([...asked.values()], signal, pinned);
    const fresh = new Map([...asked.keys()].map((key, i) => [key, given[i]]));
    for (const [key, verdict] of fresh) remember(key, verdict, pinned);
    return inputs.flatMap((_, i) => verdicts[i] ?? fresh.get(keys[i] ?? "") ?? []);
  };
  return {
    get info() {
      return scorer.info;
    },
    activity: () => ({
      ...(scorer.activity?.() ?? { name: scorer.info.name }),
      cacheHits: hits,
      cacheMisses: misses,
    }),
    // A new version forgets what the older one said: where both are in one answer, the second try has the new one's alone.
    score: (inputs, signal, pinned = "") =>
      pinned === ""
        ? ofOneVersion(scorer.info.name, () => ask(inputs, signal, pinned))
        : ask(inputs, signal, pinned),
    close: () => scorer.close(),
  };
}

/** SHA-256 of all that a scorer sees, and of which version of it. */
function contentKey(input: TrajectoryInput, pinned: string): string {
  const { prompt, completion, completionTokens, truncated, fields, tokens } = input;
  return sha256Hex(
    canonicalJson({ prompt, completion, completionTokens, truncated, fields, tokens: [...tokens], pinned }),
  );
}
