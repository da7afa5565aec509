/**
 * The HTTP contract (docs/rewards.md): samples as JSON out, `Scored | Failed(reason)` in. The whole answer is checked; a part
 * that is not what the contract says is a failure of its sample, or of the batch where it cannot be told apart (S1).
 */
import { failed, scored } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import type { TrajectoryInput } from "../scorer-set.ts";
import { postJson } from "./json-post.ts";
import { answerInvalid } from "./scorer-line.ts";
import type { ScorerLine } from "./scorer-line.ts";

export const HTTP_CONTRACT = "oarlock.score/v1";
const MAX_VERSION = 128;
const MAX_WORDS = 2_000;

export interface HttpLineOptions {
  /** The reward's name, for servers of several. */
  readonly scorer: string;
  readonly url: string;
  readonly token: string;
}

/** Posts samples to a URL by the HTTP contract of docs/rewards.md. */
export function createHttpLine({ scorer, url, token }: HttpLineOptions): ScorerLine {
  return {
    address: url,
    async call(inputs, signal) {
      const body = { contract: HTTP_CONTRACT, scorer, samples: inputs.map(sampleOf) };
      return readAnswer(url, await postJson({ url, token, body, signal }), inputs.length);
    },
    close: () => undefined,
  };
}

function sampleOf({ prompt, completion, completionTokens, truncated, fields }: TrajectoryInput): object {
  return { prompt, completion, completionTokens, truncated, fields };
}

/** The verdicts of an answer. @throws OarlockError `SCORER_ANSWER_INVALID` where none can be told. */
export function readAnswer(address: string, answer: unknown, count: number): Verdict[] {
  const { results, version, ...others } = recordOf(answer);
  if (!Array.isArray(results)) throw answerInvalid(address, "the answer has no list `results`");
  if (results.length !== count)
    throw answerInvalid(address, `${results.length} results for ${count} samples`);
  const [other] = Object.keys(others);
  if (other !== undefined)
    throw answerInvalid(address, `unknown field ${JSON.stringify(other.slice(0, 64))}`);
  if (version === undefined) return results.map((result) => readResult(result));
  if (typeof version !== "string" || version === "" || version.length > MAX_VERSION) {
    throw answerInvalid(address, `\`version\` is a text of 1 to ${MAX_VERSION} characters`);
  }
  return results.map((result) => {
    const verdict = readResult(result);
    return verdict.type === "scored" ? { ...verdict, version } : verdict;
  });
}

/** `{score, explanation?}` or `{failed, retryable?}`, and nothing else. */
function readResult(result: unknown): Verdict {
  const { score, explanation, failed: reason, retryable, ...others } = recordOf(result);
  const wrong = (what: string): Verdict =>
    failed("SCORER_ANSWER_INVALID", `a result is {score, explanation?} or {failed, retryable?}: ${what}`);
  const [other] = Object.keys(others);
  if (other !== undefined) return wrong(`unknown field ${JSON.stringify(other.slice(0, 64))}`);
  if ((score === undefined) === (reason === undefined)) return wrong("neither or both were given");
  if (reason !== undefined) {
    if (typeof reason !== "string") return wrong("`failed` is a text");
    if (retryable !== undefined && typeof retryable !== "boolean")
      return wrong("`retryable` is true or false");
    return failed("SCORER_FAILED", reason.slice(0, MAX_WORDS), retryable === true);
  }
  if (typeof score !== "number") return wrong(`\`score\` is a number, not ${typeof score}`);
  if (explanation !== undefined && typeof explanation !== "string") return wrong("`explanation` is a text");
  return scored(score, explanation?.slice(0, MAX_WORDS));
}

function recordOf(value: unknown): Record<string, unknown> {
  // A JSON object's keys are strings, and nothing is assumed of its values.
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}
