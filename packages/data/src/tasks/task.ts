/** What a procedural task is: examples computed instead of read, split into a training and a test side by their content. */
import type { Row } from "../row.ts";

export type TaskSide = "train" | "test";

export interface TaskSettings {
  /** Default "train". */
  readonly split?: TaskSide;
  /** How hard: digits of each operand, or length of the text or list. Default 2. */
  readonly digits?: number;
  /** Rows at most; 0 or absent = all there are, `MAX_TASK_ROWS` at most. */
  readonly limit?: number;
}

export interface TaskExample {
  readonly prompt: string;
  readonly answer: string;
  /** Examples of one key are always on one side of the split. */
  readonly key: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Task {
  /** What the largest `digits` is. */
  readonly maxDigits: number;
  /** Characters that prompts and answers use. */
  readonly alphabet: string;
  /** Every example once, or, where there are too many, an endless sequence that may repeat; in an order without pattern. */
  examples(digits: number): Iterable<TaskExample>;
}

/** Rows of one side at most: a task with a larger domain is cut here. */
export const MAX_TASK_ROWS = 100_000;

/** Share of the keys on the test side. */
export const TEST_SHARE = 0.2;

/** As rows see an example: the answer is also the demonstration that SFT trains on. */
export function rowOf(example: TaskExample): Row {
  const { prompt, answer, fields } = example;
  return { prompt, completion: answer, answer, fields: { prompt, answer, ...fields } };
}
