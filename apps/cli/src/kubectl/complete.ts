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
export type Suggestion = (
  | { readonly type: "words"; readonly words: readonly Word[] }
  | { readonly type: "names"; readonly of: Source; readonly flags: ClusterFlags }
) & {
  /** Of the word that is being typed, the flag that its value is glued to. */
  readonly glued?: string;
};

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

/** Whoever presses Tab waits no longer for a cluster. */
const ANSWER_MS = 2_000;

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
  for (const line of await completionLines(createPlugin(nowhere), words)) process.stdout.write(`${line}\n`);
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
  const { option, value } = flagOf(command.options, typed);
  if (option !== undefined && value !== undefined)
    return { ...valuesOf(option, flags), glued: typed.slice(0, typed.length - value.length) };
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
    const { option, value } = flagOf(options, word);
    if (open !== undefined) {
      flags[open.attributeName()] = word;
      open = undefined;
    } else if (!word.startsWith("-")) given++;
    else if (option !== undefined && value !== undefined) flags[option.attributeName()] = value;
    else if (option?.required === true) open = option;
  }
  return { flags, open, given };
}

/** The option that a word names, and the value that it has with it: `--name=value` or `-nvalue`, also after switches, `-fnvalue`. */
function flagOf(
  options: readonly Option[],
  word: string,
): { readonly option: Option | undefined; readonly value?: string } {
  if (word.startsWith("--")) {
    const [flag = "", value] = word.split("=", 2);
    return { option: optionOf(options, flag), ...(value !== undefined && { value }) };
  }
  const option = optionOf(options, word.slice(0, 2));
  const rest = word.slice(2);
  if (option === undefined || rest === "") return { option };
  return option.required ? { option, value: rest } : flagOf(options, `-${rest}`);
}

function optionOf(options: readonly Option[], flag: string): Option | undefined {
  return options.find(({ short, long }) => flag === short || flag === long);
}

function valuesOf(option: Option, flags: ClusterFlags): Suggestion {
  if (option.argChoices !== undefined) return { type: "words", words: option.argChoices.map((one) => [one]) };
  const of = SOURCES[option.attributeName()];
  return of === undefined ? NOTHING : { type: "names", of, flags };
}

/** What begins with one dash may become a short option. */
function flagWords(options: readonly Option[], typed: string): readonly Word[] {
  return options.flatMap(({ long, short, description }) =>
    [long, ...(typed.startsWith("--") ? [] : [short])].flatMap((flag): readonly Word[] =>
      flag === undefined ? [] : [[flag, description]],
    ),
  );
}

/** The lines for kubectl; names are asked for here. */
export async function completionLines(
  program: Command,
  words: readonly string[],
): Promise<readonly string[]> {
  const suggestion = suggest(program, words);
  const lines = (found: readonly Word[]): readonly string[] =>
    wordLines(found, words.at(-1) ?? "", suggestion);
  if (suggestion.type === "words") return lines(suggestion.words);
  const { of, flags } = suggestion;
  if (of === "files" || of === "folders") return [DIRECTIVE[of]];
  try {
    const names = of === "contexts" ? contextNames(flags) : await namesInCluster(of, flags);
    return lines(names.map((name) => [name]));
  } catch {
    // A completion that fails says nothing: the command itself will say why.
    return [DIRECTIVE.nothingElse];
  }
}

/** After `--name=` shells want the value alone; what is glued to a short flag is one word with it. */
function wordLines(words: readonly Word[], typed: string, { glued = "" }: Suggestion): readonly string[] {
  const before = glued.endsWith("=") ? "" : glued;
  const begun = typed.slice(glued.length);
  const lines = words
    .filter(([word]) => word.startsWith(begun))
    .map(([word, ...description]) => [before + word, ...description].join("\t"));
  return [...lines, DIRECTIVE.nothingElse];
}

async function namesInCluster(of: "runs" | "namespaces", flags: ClusterFlags): Promise<readonly string[]> {
  const cluster = openCluster(flags);
  const { client, namespace } = cluster;
  const signal = AbortSignal.timeout(ANSWER_MS);
  try {
    const { items } = await (of === "runs"
      ? client.list(TRAINING_RUNS, { namespace, signal })
      : client.list(NAMESPACES, { signal }));
    return items.map(({ metadata }) => metadata.name);
  } finally {
    cluster.close();
  }
}
