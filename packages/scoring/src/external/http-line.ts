/**
 * The HTTP contract (docs/rewards.md): samples as JSON out, `Scored | Failed(reason)` in. The whole answer is checked; a part
 * that is not what the contract says is a failure of its sample, or of the batch where it cannot be told apart (S1).
 */
import { failed, scored, scoredTokens } from "@oarlock/rewards";
import type { TokenRange, Verdict } from "@oarlock/rewards";
import { rangeOf } from "../scorer-set.ts";
import type { TrajectoryInput } from "../scorer-set.ts";
import { openJsonPoster } from "./json-post.ts";
import { answerInvalid } from "./scorer-line.ts";
import type { LineCredentials, ScorerLine } from "./scorer-line.ts";

export const HTTP_CONTRACT = "oarlock.score/v1";
const MAX_VERSION = 128;
const MAX_WORDS = 2_000;

export interface HttpLineOptions extends LineCredentials {
  /** The reward's name, for servers of several. */
  readonly scorer: string;
  readonly url: string;
  /** Default: a score is of the whole completion. */
  readonly scope?: "token" | undefined;
}

/** Posts samples to a URL by the HTTP contract of docs/rewards.md. */
export function createHttpLine({ scorer, url, scope, ...credentials }: HttpLineOptions): ScorerLine {
  const poster = openJsonPoster(url, credentials);
  return {
    address: url,
    async call(inputs, signal, version) {
      const wanted = version === "" ? {} : { version };
      const body = { contract: HTTP_CONTRACT, scorer, ...wanted, samples: inputs.map(sampleOf) };
      return readAnswer(
        url,
        await poster.post(body, signal),
        scope === "token" ? inputs.map(rangeOf) : inputs.length,
      );
    },
    close: () => poster.close(),
  };
}

function sampleOf({ prompt, completion, completionTokens, truncated, fields }: TrajectoryInput): object {
  return { prompt, completion, completionTokens, truncated, fields };
}

/**
 * The verdicts of an answer: on so many completions, or on the tokens of these.
 *
 * @throws OarlockError `SCORER_ANSWER_INVALID` where none can be told.
 */
export function readAnswer(address: string, answer: unknown, of: number | readonly TokenRange[]): Verdict[] {
  const count = typeof of === "number" ? of : of.length;
  const readResult = (result: unknown, i: number): Verdict =>
    typeof of === "number" ? readScore(result) : readTokens(result, of[i] ?? NO_TOKENS);
  const { results, version, ...others } = recordOf(answer);
  if (!Array.isArray(results)) throw answerInvalid(address, "the answer has no list `results`");
  if (results.length !== count)
    throw answerInvalid(address, `${results.length} results for ${count} samples`);
  const [other] = Object.keys(others);
  if (other !== undefined)
    throw answerInvalid(address, `unknown field ${JSON.stringify(other.slice(0, 64))}`);
  if (version === undefined) return results.map(readResult);
  if (typeof version !== "string" || version === "" || version.length > MAX_VERSION) {
    throw answerInvalid(address, `\`version\` is a text of 1 to ${MAX_VERSION} characters`);
  }
  return results.map((result, i) => {
    const verdict = readResult(result, i);
    return verdict.type === "scored" ? { ...verdict, version } : verdict;
  });
}

const NO_TOKENS: TokenRange = { promptLength: 0, completionTokens: 0 };

/** `{score, explanation?}` or `{failed, retryable?}`, and nothing else. */
function readScore(result: unknown): Verdict {
  const { score, ...others } = recordOf(result);
  return readRest({ given: score, form: "{score, explanation?}", others }, (explanation) =>
    typeof score === "number" ? scored(score, explanation) : `\`score\` is a number, not ${typeof score}`,
  );
}

/** `{scores, ends?, explanation?}`, a score for each token or for each step by the index of its last token, or `{failed, …}`. */
function readTokens(result: unknown, range: TokenRange): Verdict {
  const { scores, ends, ...others } = recordOf(result);
  return readRest({ given: scores, form: "{scores, ends?, explanation?}", others }, (explanation) => {
    if (!isNumbers(scores)) return "`scores` is a list of numbers";
    if (ends !== undefined && !isNumbers(ends)) return "`ends` is a list of numbers";
    const { promptLength, completionTokens } = range;
    const places = ends ?? Array.from({ length: completionTokens }, (_, token) => token);
    const positions = places.map((place) => promptLength + place);
    return scoredTokens({ positions, values: scores }, range, explanation);
  });
}

/** What both forms share; `read` says what is wrong with a score, or gives its verdict. */
function readRest(
  result: { readonly given: unknown; readonly form: string; readonly others: Record<string, unknown> },
  read: (explanation: string | undefined) => Verdict | string,
): Verdict {
  const { given, form } = result;
  const { explanation, failed: reason, retryable, ...others } = result.others;
  const wrong = (what: string): Verdict =>
    failed("SCORER_ANSWER_INVALID", `a result is ${form} or {failed, retryable?}: ${what}`);
  const [other] = Object.keys(others);
  if (other !== undefined) return wrong(`unknown field ${JSON.stringify(other.slice(0, 64))}`);
  if ((given === undefined) === (reason === undefined)) return wrong("neither or both were given");
  if (reason !== undefined) {
    if (typeof reason !== "string") return wrong("`failed` is a text");
    if (retryable !== undefined && typeof retryable !== "boolean")
      return wrong("`retryable` is true or false");
    return failed("SCORER_FAILED", reason.slice(0, MAX_WORDS), retryable === true);
  }
  if (explanation !== undefined && typeof explanation !== "string") return wrong("`explanation` is a text");
  const verdict = read(explanation?.slice(0, MAX_WORDS));
  return typeof verdict === "string" ? wrong(verdict) : verdict;
}

function isNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((one) => typeof one === "number");
}

function recordOf(value: unknown): Record<string, unknown> {
  // A JSON object's keys are strings, and nothing is assumed of its values.
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}
