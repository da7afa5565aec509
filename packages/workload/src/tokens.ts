/**
 * Rows to tokens, once, before the first step: prompts as the policy will see them, demonstrations with their mask.
 *
 * Plain prompts are encoded with the tokenizer's own special tokens; conversations pass the chat template. The end
 * token after a completion is trained, or the policy would never learn to stop. Pure.
 */
import type { ChatMessage, Prompt, Row } from "@oarlock/data";
import { OarlockError } from "@oarlock/errors";
import type { LossMask, ResolvedData } from "@oarlock/runfile";
import { stepEnds } from "@oarlock/scoring";
import type { Tokenizer } from "@oarlock/tokenizer";
import type { LabelledStep } from "@oarlock/training";

export interface TokenizedPrompt {
  readonly tokens: Int32Array;
  /** What the tokens say, for people. */
  readonly text: string;
}

export interface TokenizedDemonstration {
  readonly tokens: Int32Array;
  readonly promptLength: number;
  /** 1 where a token is trained. */
  readonly lossMask: Uint8Array;
  /** The end of the prompt as a policy is asked with it, where the template renders it otherwise in front of a completion. */
  readonly unseen?: string;
}

/** How prompts of a data block are rendered. */
export interface Rendering {
  readonly systemPrompt: string;
  readonly chatTemplate: "auto" | "always" | "never";
}

/** Of a procedural task: plain. */
const PLAIN_RENDERING: Rendering = { systemPrompt: "", chatTemplate: "auto" };

/** How a source's prompts become text: tasks as they are, files and hub data as their settings say. */
export function renderingOf(data: ResolvedData): Rendering {
  if (data.type === "task") return PLAIN_RENDERING;
  return data.type === "file" ? data.file : data.hub;
}

/** The tokens of a prompt, ready to be continued; a conversation that ends with a reply is continued within it (TRL). */
export function promptTokens(prompt: Prompt, rendering: Rendering, tokenizer: Tokenizer): TokenizedPrompt {
  const messages = conversation(prompt, rendering);
  if (messages !== undefined)
    return openedTokens(messages, { continueFinalMessage: endsWithReply(messages) }, tokenizer);
  const text = plainText(prompt);
  return { tokens: tokenizer.encode(text), text };
}

const endsWithReply = (messages: readonly ChatMessage[]): boolean => messages.at(-1)?.role === "assistant";

/** A conversation that the policy goes on with: in its last message, or in a turn of its own. */
function openedTokens(
  messages: readonly ChatMessage[],
  options: { readonly continueFinalMessage: boolean },
  tokenizer: Tokenizer,
): TokenizedPrompt {
  return { tokens: tokenizer.encodeChat(messages, options), text: tokenizer.renderChat(messages, options) };
}

/** The prompt of a row. Throws `DATA_PROMPT_MISSING` where it has none. */
export function rowPrompt({ prompt, isPlainText }: Row): Prompt {
  if (isPlainText !== true) return prompt;
  throw new OarlockError(
    "DATA_PROMPT_MISSING",
    "text without a prompt is for supervised stages; accepted: columns prompt, question, instruction or messages, or a field mapping",
  );
}

/** Plain text is no turn of a conversation. */
const AS_IT_IS: Rendering = { systemPrompt: "", chatTemplate: "never" };

/** Prompt and completion with the end token, and which of them are trained. */
export function demonstrationTokens(
  row: Row,
  ofPrompts: Rendering,
  options: { tokenizer: Tokenizer; mask: LossMask },
): TokenizedDemonstration {
  const { tokenizer, mask } = options;
  const rendering = row.isPlainText === true ? AS_IT_IS : ofPrompts;
  if (row.completion === undefined) {
    throw new OarlockError(
      "DATA_COMPLETION_MISSING",
      "a supervised stage needs a completion in every row; accepted: columns completion, messages or text, or a field mapping",
    );
  }
  const { prompt, tokens } = demonstrated(row.prompt, row.completion, { rendering, tokenizer });
  // Some templates open an answer with what they leave out of whole conversations: the completion begins where both part (TRL).
  const parted = prompt.findIndex((token, i) => tokens[i] !== token);
  const promptLength = parted < 0 ? prompt.length : parted;
  if (promptLength === tokens.length && conversation(row.prompt, rendering) !== undefined) {
    throw new OarlockError(
      "DATA_COMPLETION_UNSEEN",
      "the model's chat template (chat_template.jinja, or chat_template in tokenizer_config.json) renders nothing of the completion " +
        `behind its prompt, so that nothing of the row is trained; it renders ${JSON.stringify(tokenizer.decode(tokens))}`,
    );
  }
  const lossMask = new Uint8Array(tokens.length).fill(1, mask === "all" ? 1 : Math.max(1, promptLength));
  const unseen = parted < 0 ? {} : { unseen: tokenizer.decode(prompt.subarray(parted)) };
  return { tokens, promptLength, lossMask, ...unseen };
}

/** The tokens of a prompt and those of both. Messages behind a reply are turns of their own; a text goes on with it. */
function demonstrated(
  before: Prompt,
  completion: Prompt,
  options: Omit<Whole, "prompt">,
): { readonly prompt: Int32Array; readonly tokens: Int32Array } {
  const { rendering, tokenizer } = options;
  const messages = typeof completion === "string" ? undefined : conversation(before, rendering);
  const { tokens: prompt } =
    messages === undefined
      ? promptTokens(before, rendering, tokenizer)
      : openedTokens(messages, { continueFinalMessage: false }, tokenizer);
  return { prompt, tokens: wholeTokens(before, completion, { ...options, prompt }) };
}

/** Answers to one prompt, the best first, each with the prompt and the end token; a pair is a ranking of two. */
export type TokenizedRanking = readonly Int32Array[];

/** The tokens of a ranking or a pair. Throws `DATA_PREFERENCE_MISSING` where the row is neither. */
export function rankingTokens(row: Row, rendering: Rendering, tokenizer: Tokenizer): TokenizedRanking {
  const { chosen, rejected } = row;
  const ranked = row.ranking ?? (chosen === undefined || rejected === undefined ? [] : [chosen, rejected]);
  if (ranked.length === 0) {
    throw new OarlockError(
      "DATA_PREFERENCE_MISSING",
      "a reward model needs a preferred and a rejected answer in every row; accepted: columns chosen and rejected, " +
        "a column ranking (a list, the best first), or a field mapping",
    );
  }
  // A conversation is rendered with each answer anew.
  const isText = conversation(row.prompt, rendering) === undefined;
  const prompt = isText ? promptTokens(row.prompt, rendering, tokenizer).tokens : new Int32Array();
  return ranked.map((answer) => wholeTokens(row.prompt, answer, { prompt, rendering, tokenizer }));
}

/** Prompt and answer with the end token, and where the steps of the answer end. */
export interface TokenizedSteps {
  readonly tokens: Int32Array;
  readonly steps: readonly LabelledStep[];
}

/** What tells the steps of an answer apart. */
export interface StepOptions {
  readonly tokenizer: Tokenizer;
  /** Stands between two steps. */
  readonly stepEnd: string;
}

/**
 * The tokens of an answer whose steps are labelled. They end where a scorer with `scope: step` finds the ends of steps, so that
 * it reads the scores where they were trained: what a template writes behind the end token is no part of a sample. Undefined where
 * that cannot be told: a step has `stepEnd` within it, or the answer is not rendered behind its prompt. Throws `DATA_STEPS_MISSING`
 * where the row has no labelled steps.
 */
export function stepTokens(
  row: Row,
  rendering: Rendering,
  { tokenizer, stepEnd }: StepOptions,
): TokenizedSteps | undefined {
  if (row.steps === undefined) {
    throw new OarlockError(
      "DATA_STEPS_MISSING",
      "a process reward model needs labelled steps in every row; accepted: columns completions and labels, or a field mapping",
    );
  }
  const texts = row.steps.map(({ text }) => (text.endsWith(stepEnd) ? text.slice(0, -stepEnd.length) : text));
  const prompt = promptTokens(row.prompt, rendering, tokenizer).tokens;
  const whole = wholeTokens(row.prompt, texts.join(stepEnd), { prompt, rendering, tokenizer });
  if (prompt.some((token, i) => whole[i] !== token)) return undefined;
  const end = tokenizer.eosTokenId === undefined ? -1 : whole.lastIndexOf(tokenizer.eosTokenId);
  const tokens = end < prompt.length ? whole : whole.slice(0, end + 1);
  const decode = (part: readonly number[]): string => tokenizer.decode(part, { skipSpecialTokens: true });
  const ends = stepEnds(Array.from(tokens.subarray(prompt.length)), { decode, end: stepEnd });
  if (ends.length !== texts.length || texts.some((text) => text.includes(stepEnd))) return undefined;
  const labels = row.steps.map(({ label }) => label);
  return { tokens, steps: ends.map((at, i) => ({ end: prompt.length + at, label: labels[i] ?? 0 })) };
}

interface Whole {
  readonly prompt: Int32Array;
  readonly rendering: Rendering;
  readonly tokenizer: Tokenizer;
}

/** A conversation is rendered as a whole, as the model saw it in training; a text continues its prompt, up to the end token. */
function wholeTokens(
  before: Prompt,
  completion: Prompt,
  { prompt, rendering, tokenizer }: Whole,
): Int32Array {
  const messages = conversation(before, rendering);
  if (messages !== undefined)
    return tokenizer.encodeChat(withAnswer(messages, completion), { addGenerationPrompt: false });
  const text = continuation(plainText(before), plainText(completion), { prompt, tokenizer });
  const end = tokenizer.eosTokenId === undefined ? [] : [tokenizer.eosTokenId];
  return Int32Array.from([...prompt, ...text, ...end]);
}

function withAnswer(messages: readonly ChatMessage[], answer: Prompt): readonly ChatMessage[] {
  if (typeof answer !== "string") return [...messages, ...answer];
  const last = messages.at(-1);
  if (last === undefined || !endsWithReply(messages))
    return [...messages, { role: "assistant", content: answer }];
  return [...messages.slice(0, -1), { ...last, content: last.content + answer }];
}

/**
 * A completion's tokens behind those of its prompt, which stay what a policy samples from: the tokens that both texts have together
 * (TRL). Where a token of those reaches across the border, the completion's own, without the space that SentencePiece puts in front
 * of a text of its own.
 */
function continuation(
  before: string,
  completion: string,
  { prompt, tokenizer }: Pick<Whole, "prompt" | "tokenizer">,
): Int32Array {
  const together = tokenizer.encode(before + completion);
  if (prompt.every((token, i) => together[i] === token)) return together.subarray(prompt.length);
  return tokenizer.encode(completion, { addSpecialTokens: false, continues: true });
}

function conversation(
  prompt: Prompt,
  { systemPrompt, chatTemplate }: Rendering,
): readonly ChatMessage[] | undefined {
  const system = systemPrompt === "" ? [] : [{ role: "system", content: systemPrompt }];
  if (typeof prompt !== "string") return chatTemplate === "never" ? undefined : [...system, ...prompt];
  const chat = chatTemplate === "always" || (chatTemplate === "auto" && systemPrompt !== "");
  return chat ? [...system, { role: "user", content: prompt }] : undefined;
}

function plainText(prompt: Prompt): string {
  return typeof prompt === "string" ? prompt : prompt.map(({ content }) => content).join("\n");
}
