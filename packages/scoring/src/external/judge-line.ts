/**
 * A language model as a judge, behind an OpenAI-compatible chat API: the sample and the rubric in a prompt, one number as the
 * whole answer. Anything else is a failure (S1): a number fished out of prose would be a guess.
 */
import { failed, scored } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import type { ResolvedJudge } from "@oarlock/runfile";
import type { TrajectoryInput } from "../scorer-set.ts";
import { openJsonPoster } from "./json-post.ts";
import type { LineCredentials, ScorerLine } from "./scorer-line.ts";

/** Of an answer that is no number, for its message. */
const MAX_QUOTED = 100;
const MAX_VERSION = 128;

export interface JudgeLineOptions extends LineCredentials {
  /** What the API calls the judge's own model in its answers, where that is pinned; "": any name will do. */
  readonly version: string;
}

/**
 * Asks an OpenAI-compatible chat API for a number about each sample, one call a sample. Another version than the judge's own is
 * another model of the API, asked for by that name.
 */
export function createJudgeLine(
  judge: ResolvedJudge,
  { version: own, ...credentials }: JudgeLineOptions,
): ScorerLine {
  const url = `${judge.url.replace(/\/+$/, "")}/chat/completions`;
  const poster = openJsonPoster(url, credentials);
  const ask = async (input: TrajectoryInput, signal: AbortSignal, version: string): Promise<Verdict> => {
    const body = {
      model: version === "" || version === own ? judge.model : version,
      messages: [{ role: "user", content: judgePrompt(judge, input) }],
      temperature: judge.temperature,
      max_tokens: judge.maxTokens,
    };
    return readJudgement(judge, await poster.post(body, signal));
  };
  return {
    address: url,
    call: (inputs, signal, version) => Promise.all(inputs.map((input) => ask(input, signal, version))),
    close: () => poster.close(),
  };
}

/** The template, filled in one pass: what a completion says is never taken for a place of the template. */
export function judgePrompt(
  { prompt: template, rubric, min, max }: ResolvedJudge,
  { prompt, completion }: Pick<TrajectoryInput, "prompt" | "completion">,
): string {
  const values: Readonly<Record<string, string>> = {
    rubric,
    prompt,
    completion,
    min: `${min}`,
    max: `${max}`,
  };
  return template.replaceAll(
    /\{(rubric|prompt|completion|min|max)\}/g,
    (place, name: string) => values[name] ?? place,
  );
}

/** The judge's number, if its answer is one inside the range, whole and alone. */
export function readJudgement({ min, max }: Pick<ResolvedJudge, "min" | "max">, answer: unknown): Verdict {
  const choices = field(answer, "choices");
  const choice: unknown = Array.isArray(choices) ? choices[0] : undefined;
  const content = field(field(choice, "message"), "content");
  if (typeof content !== "string")
    return failed("JUDGE_ANSWER_INVALID", "the answer has no choices[0].message.content");
  if (field(choice, "finish_reason") === "length") {
    return failed("JUDGE_ANSWER_INVALID", "the answer was cut off by maxTokens");
  }
  const text = content.trim();
  const accepted = `one number from ${min} to ${max} and nothing else`;
  if (!/^[+-]?(\d+(\.\d*)?|\.\d+)$/.test(text)) {
    return failed(
      "JUDGE_ANSWER_INVALID",
      `the judge said ${JSON.stringify(text.slice(0, MAX_QUOTED))}; accepted: ${accepted}`,
    );
  }
  const value = Number(text);
  if (value < min || value > max)
    return failed("JUDGE_ANSWER_INVALID", `the judge said ${value}; accepted: ${accepted}`);
  const verdict = scored(value);
  const model = field(answer, "model");
  return verdict.type === "scored" && typeof model === "string" && model !== ""
    ? { ...verdict, version: model.slice(0, MAX_VERSION) }
    : verdict;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined;
}
