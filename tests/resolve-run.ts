/** A run file of the addition task as the plan that services take: what of it depends on a model and a machine is made up. */
import { taskAlphabet, taskDataset } from "@oarlock/data";
import { dataUses, readRunFile, resolvePlan, resolveSpec } from "@oarlock/runfile";
import type { ReadRunFile, ResolvedRun } from "@oarlock/runfile";
import { characterTokenizer, createTokenizer } from "@oarlock/tokenizer";

type DataBlock = ReturnType<typeof dataUses>[number]["data"];
type Facts = Parameters<typeof resolvePlan>[1];

/** The file with `--set` values; its problems as one error. */
export function readRun(text: string, file: string, set: readonly string[]): ReadRunFile {
  const read = readRunFile(text, { file, set });
  if (!read.ok) throw new Error(read.problems.map(({ message }) => message).join("\n"));
  return read.file;
}

/** Of each task's data; throws where the run reads anything else. */
export function taskData(file: ReadRunFile, longestPrompt: number): Facts["data"] {
  const facts = dataUses(resolveSpec(file).spec).map(
    ({ path, data }) => [path, dataFacts(taskRows(data), longestPrompt)] as const,
  );
  return new Map(facts);
}

export function taskRows(block: DataBlock): ReturnType<typeof taskDataset> {
  if (block.type !== "task") throw new Error(`${block.type} is no task`);
  const { name, ...settings } = block.task;
  return taskDataset(name, settings);
}

export function dataFacts(
  { digest, rows, parts }: Pick<ReturnType<typeof taskDataset>, "digest" | "rows" | "parts">,
  longestPrompt: number,
) {
  return { digest, rows: rows.length, longestPrompt, parts };
}

/** The plan; its problems as one error. */
export function resolveRun(
  file: ReadRunFile,
  { data, functions, scorers = new Map() }: Pick<Facts, "data" | "functions" | "scorers">,
): ResolvedRun {
  const tokenizer = createTokenizer(characterTokenizer({ alphabet: taskAlphabet("addition") }));
  const plan = resolvePlan(file, {
    model: {
      vocabSize: tokenizer.vocabSize,
      digest: "",
      tokenizerDigest: tokenizer.digest,
      chatTemplateDigest: "",
    },
    data,
    functions,
    scorers,
    engine: { oarlock: "0.1.0", onnxruntime: "", instructionSet: "" },
    machine: { memoryBytes: 8e9 },
  });
  if (plan.problems.length > 0) throw new Error(JSON.stringify(plan.problems));
  return plan.run;
}
