/** The `data` block: a procedural task, a file, or a data set of the hub. Knows nothing of how rows are read. */
import type { z } from "zod";
import type { DataSpec } from "../run-file.ts";
import { CHAT_TEMPLATE_USES, DATA_FORMATS, TASK_NAMES, TASK_SPLITS } from "../vocabulary.ts";
import { choice, closed, integer, text, union } from "./primitives.ts";

const COLUMN_LENGTH = 128;

const column = (part: string) => text(COLUMN_LENGTH).describe(`Column that holds the ${part}.`).optional();

const fields = closed({
  prompt: column("prompt"),
  completion: column("completion"),
  answer: column("expected answer"),
  messages: column("conversation (list of role and content)"),
  chosen: column("preferred completion"),
  rejected: column("rejected completion"),
  ranking: column("list of ranked completions, the best first"),
  completions: column("list of steps of one completion"),
  labels: column("list of labels of the steps"),
}).describe("Which column plays which part; TRL's and verl's names are found without it.");

const table = {
  fields: fields.optional(),
  systemPrompt: text(16_384).describe("System message put in front of every conversation.").optional(),
  chatTemplate: choice(CHAT_TEMPLATE_USES)
    .describe("Whether prompts pass through the model's chat template.")
    .optional(),
  limit: integer(0).describe("Rows at most; 0 is all.").optional(),
  skip: integer(0).describe("Rows left out at the start.").optional(),
};

const task = closed({
  name: choice(TASK_NAMES).describe("Which procedural task."),
  split: choice(TASK_SPLITS).describe("Side of the fixed split; no problem is on both.").optional(),
  digits: integer(1, 9).describe("Digits of each operand, or letters of each text.").optional(),
  limit: integer(0).describe("Rows at most; 0 is all.").optional(),
});

const file = closed({
  path: text(1024).describe("File or folder, relative to the run file."),
  format: choice(DATA_FORMATS).describe("Format; auto goes by the file name.").optional(),
  ...table,
});

const hub = closed({
  dataset: text(256)
    .regex(/^hf:\/\/datasets\//)
    .describe("hf://datasets/org/name[@revision]."),
  config: text(128).describe("Configuration (subset) of the data set.").optional(),
  split: text(64).describe("Split, e.g. train.").optional(),
  ...table,
});

/** One source of rows. */
export const dataSchema: z.ZodType<DataSpec> = union(
  closed({
    type: choice(["task", "file", "hub"]).describe("Where rows come from."),
    task: task.describe("A procedural task: needs no download.").optional(),
    file: file.describe("A JSONL, JSON, CSV or Parquet file.").optional(),
    hub: hub.describe("A data set of the Hugging Face hub.").optional(),
  }),
  ["task", "file", "hub"],
).describe("Source of rows.");
