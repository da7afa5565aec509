/** The built-in tasks by name, and the rows of one side of one: a run with these needs no download. */
import { createHash } from "node:crypto";
import { OarlockError } from "@oarlock/errors";
import type { Dataset, Row } from "../row.ts";
import { addition } from "./addition.ts";
import { copyText, countLetter, reverseText, sortLetters } from "./letters.ts";
import { fractionOf } from "./mixing.ts";
import { MAX_TASK_ROWS, rowOf, type Task, type TaskSettings, type TaskSide, TEST_SHARE } from "./task.ts";

/** Names of the built-in tasks. */
export const TASK_NAMES = ["addition", "reverse-text", "copy-text", "sort-letters", "count-letter"] as const;
export type TaskName = (typeof TASK_NAMES)[number];

const tasks: { readonly [N in TaskName]: Task } = {
  addition,
  "reverse-text": reverseText,
  "copy-text": copyText,
  "sort-letters": sortLetters,
  "count-letter": countLetter,
};

const isTaskName = (name: string): name is TaskName => Object.hasOwn(tasks, name);

/** Gives up after this many examples without a new one: the domain is exhausted. */
const MAX_REPETITIONS = 10_000;

/** The characters that prompts and answers of a task use: the alphabet of a tokenizer for it. */
export function taskAlphabet(name: TaskName): string {
  return tasks[name].alphabet;
}

/** Which side of the split examples of `key` are on; `TEST_SHARE` of the keys are on the test side. */
export function sideOf(name: TaskName, key: string): TaskSide {
  return fractionOf(`${name}/split/${key}`) < TEST_SHARE ? "test" : "train";
}

/** The rows of a built-in task: the same on every machine. Throws `DATA_TASK` for an unknown task or size. */
export function taskDataset(name: string, settings: TaskSettings = {}): Dataset {
  const { split = "train", digits = 2, limit = 0 } = settings;
  if (!isTaskName(name)) {
    throw new OarlockError("DATA_TASK", `task ${JSON.stringify(name)}; accepted: ${TASK_NAMES.join(", ")}`);
  }
  const task = tasks[name];
  if (!Number.isSafeInteger(digits) || digits < 1 || digits > task.maxDigits) {
    throw new OarlockError("DATA_TASK", `digits ${digits} of task ${name}; accepted: 1 to ${task.maxDigits}`);
  }
  const wanted = Math.min(limit === 0 ? MAX_TASK_ROWS : limit, MAX_TASK_ROWS);
  const rows = collect(name, { task, split, digits, wanted });
  const content = rows.map(({ prompt, answer }) => JSON.stringify([prompt, answer])).join("\n");
  return {
    name,
    rows,
    digest: createHash("sha256").update(content, "utf8").digest("hex"),
    parts: ["prompt", "completion", "answer"],
  };
}

interface Collection {
  readonly task: Task;
  readonly split: TaskSide;
  readonly digits: number;
  readonly wanted: number;
}

/** Distinct rows of one side, in the task's order: a limited selection is the beginning of the whole. */
function collect(name: TaskName, { task, split, digits, wanted }: Collection): Row[] {
  const rows = new Map<string, Row>();
  let repetitions = 0;
  for (const example of task.examples(digits)) {
    if (rows.has(example.prompt) || sideOf(name, example.key) !== split) {
      if (++repetitions > MAX_REPETITIONS) break;
      continue;
    }
    repetitions = 0;
    rows.set(example.prompt, rowOf(example));
    if (rows.size >= wanted) break;
  }
  return [...rows.values()];
}
