/**
 * Completion of `kubectl oarlock …`, in the form that kubectl asks `kubectl_complete-oarlock` for, which is Cobra's: a line for each
 * word with its description, then a directive. What may follow is read from the commands' own definitions.
 */
import type { Command, Option } from "commander";
import { contextNames, type Resource } from "@oarlock/kube";
import { recordingTerminal } from "../terminal.ts";
import { type ClusterFlags, openCluster, TRAINING_RUNS } from "./cluster.ts";
import { createPlugin } from "./main.ts";

/** A word with what it does. */
type Word = readonly [word: string, description?: string];

/** What may follow: words that are known, or names that the machine or the cluster has. */
export type Suggestion =
  | { readonly type: "words"; readonly words: readonly Word[] }
  | { readonly type: "names"; readonly of: Source; readonly flags: ClusterFlags };

type Source = "runs" | "namespaces" | "contexts" | "files" | "folders";

/** What arguments and values of options are, by their names; others are nobody's to know. */
const SOURCES: Readonly<Record<string, Source>> = {
  run: "runs",
  file: "files",
  folder: "folders",
  namespace: "namespaces",
  context: "contexts",
  kubeconfig: "files",
};

/** Cobra's directives to the shell. */
const DIRECTIVE = { files: ":0", nothingElse: ":4", folders: ":16" } as const;
const NOTHING: Suggestion = { type: "words", words: [] };
const NAMESPACES: Resource = { apiVersion: "v1", kind: "Namespace", plural: "namespaces" };

/** Prints what may follow the words that were typed; the last one is being typed. */
export async function complete(words: readonly string[]): Promise<void> {
  const nowhere = {
    terminal: recordingTerminal(),
    withCluster: async () => undefined,
    exit: () => undefined,
  };
  for (const line of await completionLines(suggest(createPlugin(nowhere), words), words.at(-1) ?? ""))
    process.stdout.write(`${line}\n`);
}

/** What may follow. Pure. */
export function suggest(program: Command, words: readonly string[]): Suggestion {
  const [name = "", ...rest] = words;
  if (rest.length === 0)
    return name.startsWith("-")
      ? { type: "words", words: flagWords(program.options, name) }
      : { type: "words", words: program.commands.map((command) => [command.name(), command.description()]) };
  const command = program.commands.find((one) => one.name() === name);
  return command === undefined ? NOTHING : suggestFor(command, rest);
}

function suggestFor(command: Command, words: readonly string[]): Suggestion {
  const typed = words.at(-1) ?? "";
  const { flags, open, given } = walk(command.options, words.slice(0, -1));
  if (open !== undefined) return valuesOf(open, flags);
  const [long = "", value] = typed.split("=", 2);
  const assigned = value === undefined ? undefined : optionOf(command.options, long);
  if (assigned !== undefined) return valuesOf(assigned, flags);
  if (typed.startsWith("-")) return { type: "words", words: flagWords(command.options, typed) };
  const source = SOURCES[command.registeredArguments[given]?.name() ?? ""];
  return source === undefined ? NOTHING : { type: "names", of: source, flags };
}

interface Walked {
  /** The options that were given a value. */
  readonly flags: Readonly<Record<string, string>>;
  /** The option whose value comes next. */
  readonly open: Option | undefined;
  /** Arguments so far. */
  readonly given: number;
}

function walk(options: readonly Option[], words: readonly string[]): Walked {
  const flags: Record<string, string> = {};
  let open: Option | undefined;
  let given = 0;
  for (const word of words) {
    const [flag = "", value] = word.split("=", 2);
    if (open !== undefined) {
      flags[open.attributeName()] = word;
      open = undefined;
    } else if (!word.startsWith("-")) given++;
    else {
      const option = optionOf(options, flag);
      if (option !== undefined && value !== undefined) flags[option.attributeName()] = value;
      else if (option?.required === true) open = option;
    }
  }
  return { flags, open, given };
}

function optionOf(options: readonly Option[], flag: string): Option | undefined {
  return options.find(({ short, long }) => flag === short || flag === long);
}

function valuesOf(option: Option, flags: ClusterFlags): Suggestion {
  if (option.argChoices !== undefined) return { type: "words", words: option.argChoices.map((one) => [one]) };
  const of = SOURCES[option.attributeName()];
  return of === undefined ? NOTHING : { type: "names", of, flags };
}

/** One dash may become a short option. */
function flagWords(options: readonly Option[], typed: string): readonly Word[] {
  return options.flatMap(({ long, short, description }) =>
    [long, ...(typed === "-" ? [short] : [])].flatMap((flag): readonly Word[] =>
      flag === undefined ? [] : [[flag, description]],
    ),
  );
}

/** The lines for kubectl; names are asked for here. */
async function completionLines(suggestion: Suggestion, typed: string): Promise<readonly string[]> {
  if (suggestion.type === "words") return wordLines(suggestion.words, typed);
  const { of, flags } = suggestion;
  if (of === "files" || of === "folders") return [DIRECTIVE[of]];
  try {
    const names = of === "contexts" ? contextNames(flags) : await namesInCluster(of, flags);
    return wordLines(
      names.map((name) => [name]),
      typed,
    );
  } catch {
    // A completion that fails says nothing: the command itself will say why.
    return [DIRECTIVE.nothingElse];
  }
}

function wordLines(words: readonly Word[], typed: string): readonly string[] {
  const begun = typed.startsWith("-") && typed.includes("=") ? typed.slice(typed.indexOf("=") + 1) : typed;
  const lines = words.filter(([word]) => word.startsWith(begun)).map((word) => word.join("\t"));
  return [...lines, DIRECTIVE.nothingElse];
}

async function namesInCluster(of: "runs" | "namespaces", flags: ClusterFlags): Promise<readonly string[]> {
  const cluster = openCluster(flags);
  const { client, namespace } = cluster;
  try {
    const { items } = await (of === "runs"
      ? client.list(TRAINING_RUNS, { namespace })
      : client.list(NAMESPACES));
    return items.map(({ metadata }) => metadata.name);
  } finally {
    cluster.close();
  }
}
