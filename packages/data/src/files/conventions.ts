/**
 * Which column means what: the conventions of TRL (prompt, prompt-completion, preference, stepwise supervision,
 * conversational, language modelling), verl (prompt as messages, reward_model.ground_truth), Alpaca (instruction, input, output),
 * SVAMP (Body, Question), ShareGPT and Anthropic's hh-rlhf, and a mapping of the user's own. A record in, a row out, or an error that
 * names place, field and value.
 */
import { OarlockError } from "@oarlock/errors";
import type { LabelledText, Prompt, Row } from "../row.ts";
import { splitLastReply, toMessages } from "./messages.ts";
import { labelledSteps } from "./labelled-steps.ts";
import { describe, type TableRecord } from "./table.ts";

/** Column names of the user's, each a name or a path ("reward_model.ground_truth"); what is left out is found by convention. */
export interface ColumnNames {
  readonly prompt?: string;
  readonly completion?: string;
  readonly answer?: string;
  readonly messages?: string;
  readonly chosen?: string;
  readonly rejected?: string;
  readonly ranking?: string;
  readonly completions?: string;
  readonly labels?: string;
}

/** Tried in this order where the user names none. */
const conventions: { readonly [Part in keyof Required<ColumnNames>]: readonly string[] } = {
  prompt: ["prompt", "question", "Question", "instruction"],
  completion: ["completion", "response", "output"],
  answer: ["answer", "final_answer", "reward_model.ground_truth", "ground_truth", "solution", "Answer"],
  messages: ["messages", "conversations"],
  chosen: ["chosen"],
  rejected: ["rejected"],
  ranking: ["ranking"],
  completions: ["completions"],
  labels: ["labels"],
};

function valueAt(values: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(values, path)) return values[path];
  let at: unknown = values;
  for (const key of path.split(".")) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<string, unknown>)[key]; // an object, by the line above
  }
  return at;
}

interface Found {
  readonly column: string;
  readonly value: unknown;
}

/** NaN is what data frames write for null into columns of numbers. */
const isNull = (value: unknown): boolean => value === null || Number.isNaN(value);

/** The column of a part in this record; a column that the user named must be there. */
function find(record: TableRecord, part: keyof ColumnNames, names: ColumnNames): Found | undefined {
  const named = names[part];
  const candidates = named === undefined ? conventions[part] : [named];
  for (const column of candidates) {
    const value = valueAt(record.values, column);
    if (value !== undefined && !isNull(value)) return { column, value };
  }
  if (named === undefined) return undefined;
  throw refusal(record, named, absence(record, named));
}

/** Why a column gives nothing: it is null, or it is not there, and what then helps. */
function absence({ values }: TableRecord, column: string, help = ""): string {
  const value = valueAt(values, column);
  if (isNull(value)) return `is ${String(value)}; accepted: a value in every row`;
  return `missing; the row has: ${Object.keys(values).join(", ")}${help}`;
}

const refusal = (record: TableRecord, column: string, message: string): OarlockError =>
  new OarlockError("DATA_ROW", `${record.place}, field "${column}": ${message}`);

function textOrMessages(record: TableRecord, found: Found | undefined): Prompt | undefined {
  if (!found) return undefined;
  if (typeof found.value === "string") return found.value;
  const messages = toMessages(found.value);
  if (messages) return messages;
  throw refusal(
    record,
    found.column,
    `is ${describe(found.value)}; accepted: text, or messages of { role, content }`,
  );
}

/** Answers are compared as text; numbers count as their digits. Anything else stays in `fields` only, and is not to be named. */
function answerOf(record: TableRecord, names: ColumnNames): string | undefined {
  const found = find(record, "answer", names);
  if (!found) return undefined;
  const { column, value } = found;
  if (typeof value === "string") return value;
  if (typeof value === "bigint" || Number.isFinite(value)) return String(value);
  if (names.answer === undefined) return undefined;
  throw refusal(record, column, `is ${describe(value)}; accepted: text or a number`);
}

/** The row that a record means. Throws `DATA_ROW`. */
export function toRow(record: TableRecord, names: ColumnNames = {}): Row {
  const { prompt, completion, chosen, rejected } = partsOf(record, names);
  if (prompt === undefined) return withoutPrompt(record, names);
  refuseTools(record, prompt);
  const answer = answerOf(record, names);
  const ranking = rankingOf(record, names);
  const steps = stepsOf(record, names);
  return {
    prompt,
    ...(completion !== undefined && { completion }),
    ...(chosen !== undefined && { chosen }),
    ...(rejected !== undefined && { rejected }),
    ...(ranking !== undefined && { ranking }),
    ...(steps !== undefined && { steps }),
    ...(answer !== undefined && { answer }),
    fields: jsonFields(record.values),
  };
}

/** The row of a record without a prompt: plain text, in TRL's column for it and with no mapping. Else throws `DATA_ROW`. */
function withoutPrompt(record: TableRecord, names: ColumnNames): Row {
  const { text } = record.values;
  if (typeof text === "string" && Object.keys(names).length === 0)
    return { prompt: "", completion: text, isPlainText: true, fields: jsonFields(record.values) };
  const column = names.prompt ?? "prompt";
  throw refusal(record, column, absence(record, column, ". Name the column under fields.prompt"));
}

/** TRL hands a column `tools` to the chat template of a conversation. A prompt without them would be another one. */
function refuseTools(record: TableRecord, prompt: Prompt): void {
  const { tools } = record.values;
  const isThere =
    (Array.isArray(tools) && tools.length > 0) || (typeof tools === "string" && tools.length > 2);
  if (typeof prompt === "string" || !isThere) return;
  throw refusal(
    record,
    "tools",
    "has definitions of tools, which are not rendered into prompts; accepted: rows without, or with prompts of text",
  );
}

/** Answers that were ranked, the best first: a list of texts, or of conversations. */
function rankingOf(record: TableRecord, names: ColumnNames): readonly Prompt[] | undefined {
  const found = find(record, "ranking", names);
  if (!found) return undefined;
  const { column, value } = found;
  // A column that only happens to have this name is none.
  if (names.ranking === undefined && !(Array.isArray(value) && value.length >= 2)) return undefined;
  if (Array.isArray(value) && value.length >= 2) {
    return value.map((one: unknown, at) => {
      const answer = textOrMessages(record, { column: `${column}.${at}`, value: one });
      if (answer !== undefined) return answer;
      throw refusal(record, `${column}.${at}`, "is missing");
    });
  }
  throw refusal(
    record,
    column,
    `is ${describe(value)}; accepted: a list of two answers or more, the best first`,
  );
}

/** Labelled steps, where both of their columns are there. */
function stepsOf(record: TableRecord, names: ColumnNames): readonly LabelledText[] | undefined {
  const [completions, labels] = [find(record, "completions", names), find(record, "labels", names)];
  if (completions === undefined || labels === undefined) return undefined;
  const isNamed = names.completions !== undefined || names.labels !== undefined;
  const steps = labelledSteps(completions.value, labels.value);
  if (!("isMeant" in steps)) return steps;
  // Columns that only happen to have these names are none.
  if (!isNamed && !steps.isMeant) return undefined;
  const { column } = steps.of === "labels" ? labels : completions;
  throw refusal(record, column, steps.message);
}

interface Beside {
  readonly column: string;
  readonly join: (prompt: string, beside: string) => string;
}

/** What some prompts cannot be answered without stands in a column beside theirs. */
const beside: Readonly<Record<string, Beside>> = {
  // Alpaca.
  instruction: { column: "input", join: (instruction, input) => `${instruction}\n\n${input}` },
  // SVAMP, as Qwen2.5-Math's evaluation joins it.
  Question: {
    column: "Body",
    join: (question, body) => `${body.trim().replace(/\.?$/, ".")} ${question.trim()}`,
  },
};

/** The prompt column, with what belongs to it. */
function promptOf(record: TableRecord, names: ColumnNames): Prompt | undefined {
  const found = find(record, "prompt", names);
  const prompt = textOrMessages(record, found);
  const more = found && beside[found.column];
  const extra = more && record.values[more.column];
  return more && typeof prompt === "string" && typeof extra === "string" && extra !== ""
    ? more.join(prompt, extra)
    : prompt;
}

interface Parts {
  readonly prompt?: Prompt | undefined;
  readonly completion?: Prompt | undefined;
  readonly chosen?: Prompt;
  readonly rejected?: Prompt;
}

/** Prompt, completion and pair. Sets of whole dialogues often have the first question as a column of its own too. */
function partsOf(record: TableRecord, names: ColumnNames): Parts {
  const { prompt: before, completion: reply } = conversationParts(record, names);
  const asked = promptOf(record, names);
  const completion = textOrMessages(record, find(record, "completion", names));
  const pair = preferenceParts(record, names, asked);
  if (pair !== undefined) {
    const prompt = pair.prompt?.length ? pair.prompt : (asked ?? before ?? pair.prompt);
    return { completion: completion ?? reply, ...pair, prompt };
  }
  // A reply belongs to the turns before it.
  const isReplied = completion === undefined && reply !== undefined && names.prompt === undefined;
  return { prompt: isReplied ? before : (asked ?? before), completion: completion ?? reply };
}

/** A whole conversation in one column: the assistant's turn at its end, where it ends with one, is the completion. */
function conversationParts(record: TableRecord, names: ColumnNames): Parts {
  const found = find(record, "messages", names);
  if (!found) return {};
  const messages = toMessages(found.value);
  if (!messages)
    throw refusal(
      record,
      found.column,
      `is ${describe(found.value)}; accepted: messages of { role, content } or { from, value }`,
    );
  const { prompt, reply } = splitLastReply(messages);
  return { prompt, ...(reply.length > 0 && { completion: reply }) };
}

/** A preference pair. What both sides begin with is the prompt, unless a column has one of their kind (TRL: maybe_extract_prompt). */
function preferenceParts(
  record: TableRecord,
  names: ColumnNames,
  asked: Prompt | undefined,
): Parts | undefined {
  const [chosen, rejected] = [
    textOrMessages(record, find(record, "chosen", names)),
    textOrMessages(record, find(record, "rejected", names)),
  ];
  if (chosen === undefined || rejected === undefined) return undefined;
  if (typeof asked === typeof chosen || typeof chosen !== typeof rejected) return { chosen, rejected };
  return typeof chosen === "string" && typeof rejected === "string"
    ? splitText(chosen, rejected)
    : splitTurns(chosen, rejected);
}

/** hh-rlhf: the common beginning, back to the end of its last "Assistant:". */
function splitText(chosen: string, rejected: string): Parts {
  let same = 0;
  while (same < chosen.length && chosen[same] === rejected[same]) same++;
  const mark = "\n\nAssistant:";
  const turn = chosen.lastIndexOf(mark, same);
  const at = turn >= 0 && turn + mark.length <= same ? turn + mark.length : 0;
  return { prompt: chosen.slice(0, at), chosen: chosen.slice(at), rejected: rejected.slice(at) };
}

/** The common turns; each side keeps one at least. */
function splitTurns(chosen: Prompt, rejected: Prompt): Parts {
  const most = Math.min(chosen.length, rejected.length) - 1;
  let same = 0;
  while (same < most && JSON.stringify(chosen[same]) === JSON.stringify(rejected[same])) same++;
  return { prompt: chosen.slice(0, same), chosen: chosen.slice(same), rejected: rejected.slice(same) };
}

/** JSON values only: 64-bit integers become numbers where they are exact, else text; binary columns are left out. */
function jsonFields(values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const plain = JSON.stringify(values, (_, value: unknown) => {
    if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
    return value instanceof Uint8Array ? undefined : value;
  });
  return JSON.parse(plain) as Record<string, unknown>;
}
