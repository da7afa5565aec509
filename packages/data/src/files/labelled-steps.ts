/** TRL's stepwise supervision: `completions`, the steps of one answer, and `labels`, whether each is right. Values in, steps out. */
import type { LabelledText } from "../row.ts";
import { describe } from "./table.ts";

/** Why two values are no labelled steps. */
export interface NoSteps {
  readonly of: "completions" | "labels";
  readonly message: string;
  /** Whether they look as if they were meant to be: a list of texts and a list. */
  readonly isMeant: boolean;
}

/** The steps that both lists say, or what is wrong with which of them. */
export function labelledSteps(completions: unknown, labels: unknown): readonly LabelledText[] | NoSteps {
  const no = (of: NoSteps["of"], message: string, isMeant = true): NoSteps => ({ of, message, isMeant });
  if (!isTexts(completions))
    return no("completions", `is ${describe(completions)}; accepted: a list of texts, a step each`, false);
  if (!Array.isArray(labels)) return no("labels", `is ${describe(labels)}; accepted: ${LABELS}`, false);
  if (labels.length !== completions.length)
    return no("labels", `has ${labels.length} labels of ${completions.length} steps; accepted: as many`);
  const numbers = labels.map(labelOf);
  const bad = numbers.indexOf(undefined);
  if (bad >= 0) return no("labels", `label ${bad + 1} is ${describe(labels[bad])}; accepted: ${LABELS}`);
  return completions.map((text, i) => ({ text, label: numbers[i] ?? 0 }));
}

const LABELS = "a list of true or false, or of numbers from 0 to 1";

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "string");

function labelOf(value: unknown): number | undefined {
  const number = typeof value === "boolean" || typeof value === "bigint" ? Number(value) : value;
  return typeof number === "number" && number >= 0 && number <= 1 ? number : undefined;
}
