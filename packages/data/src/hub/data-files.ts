/**
 * Which files of a data set are the rows of a split. Pure: by what the repository's card says of its configurations, else by
 * the names, in the order of the `datasets` library (`data_files.py`): numbered files of `data/`, words in names of folders, words in
 * names of files; where there are none, all files are "train".
 */
import { OarlockError } from "@oarlock/errors";
import { extensionOf, EXTENSIONS } from "../files/table.ts";
import { isJsonObject } from "../json-object.ts";
import { matchesPattern } from "./path-pattern.ts";

/** What a user asks for. */
export interface DataSelection {
  /** "" = the only one, or the default one. */
  readonly config: string;
  readonly split: string;
}

/** Extensions that are read, the preferred one first: a repository may hold the same rows in several formats. */
const FORMATS = [".parquet", ...EXTENSIONS.filter((extension) => extension !== ".parquet")];
/** What splits are called in names of files and folders. */
const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  train: ["train", "training"],
  validation: ["validation", "valid", "dev", "val"],
  test: ["test", "testing", "eval", "evaluation"],
};
/** Files that describe others, and what lies in hidden and special folders. */
const NO_DATA =
  /(^|\/)(\.|__)|(^|\/)(dataset_infos?|dataset_dict|state|config|package(-lock)?|tokenizer(_config)?)\.json$/;

/**
 * The files of the split, in the order of their rows. `configurations` is `configs` of the card, as the hub gives it.
 * Throws `DATA_SPLIT`, naming what there is.
 */
export function chooseDataFiles(
  paths: readonly string[],
  selection: DataSelection,
  configurations?: unknown,
): readonly string[] {
  const readable = paths.filter((path) => extensionOf(path) !== undefined && !NO_DATA.test(path)).toSorted();
  const chosen = configurationOf(selection.config, configurations);
  const splits =
    chosen === undefined
      ? splitsByName(inFolder(readable, selection.config), selection.config)
      : splitsOfConfiguration(readable, chosen);
  const found = splits.get(selection.split);
  if (found !== undefined && found.length > 0) return oneFormat(found);
  const named = [...splits].flatMap(([split, files]) => (files.length > 0 ? [split] : []));
  throw new OarlockError(
    "DATA_SPLIT",
    `no file of the split ${JSON.stringify(selection.split)} that can be read (${FORMATS.join(", ")}, each also .gz); ` +
      (named.length > 0 ? `accepted: ${named.join(", ")}` : "there is no split at all"),
  );
}

interface Configuration {
  readonly name: string;
  readonly isDefault: boolean;
  readonly folder: string;
  /** Patterns by split; undefined: by the names. */
  readonly patterns: ReadonlyMap<string, readonly string[]> | undefined;
}

/** The one that is asked for; undefined where the card tells of none. */
function configurationOf(wanted: string, configurations: unknown): Configuration | undefined {
  const known = Array.isArray(configurations) ? configurations.flatMap(configuration) : [];
  if (known.length === 0) return undefined;
  const [only] = known;
  const byDefault = known.find(({ isDefault, name }) => isDefault || name === "default");
  const found =
    wanted === ""
      ? (byDefault ?? (known.length === 1 ? only : undefined))
      : known.find(({ name }) => name === wanted);
  if (found !== undefined) return found;
  const names = known.map(({ name }) => name).join(", ");
  const what = wanted === "" ? "config is required" : `there is no config ${JSON.stringify(wanted)}`;
  throw new OarlockError("DATA_SPLIT", `${what}; accepted: ${names}`);
}

const texts = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [value]).filter((each) => typeof each === "string");

function configuration(entry: unknown): readonly Configuration[] {
  if (!isJsonObject(entry) || typeof entry["config_name"] !== "string") return [];
  const { config_name: name, data_files: files, data_dir: folder, default: isDefault } = entry;
  return [
    {
      name,
      isDefault: isDefault === true,
      folder: typeof folder === "string" ? folder : "",
      patterns: patternsOf(files),
    },
  ];
}

/** `data_files` of a card: a pattern, several, or a list of splits with theirs. */
function patternsOf(files: unknown): Configuration["patterns"] {
  const entries = Array.isArray(files) ? files : [files];
  const named = entries.filter(isJsonObject).filter(({ split }) => typeof split === "string");
  if (named.length > 0) return new Map(named.map(({ split, path }) => [String(split), texts(path)]));
  const all = texts(files);
  return all.length > 0 ? new Map([["train", all]]) : undefined;
}

type Splits = ReadonlyMap<string, readonly string[]>;

function splitsOfConfiguration(paths: readonly string[], { folder, patterns }: Configuration): Splits {
  const inside = inFolder(paths, folder);
  if (patterns === undefined) return splitsByName(inside, folder);
  const root = folder === "" ? "" : `${trimmed(folder)}/`;
  const ofSplit = (of: readonly string[]): readonly string[] =>
    of.flatMap((pattern) => inside.filter((path) => matchesPattern(path, root + trimmed(pattern))));
  return new Map([...patterns].map(([split, of]) => [split, [...new Set(ofSplit(of))]]));
}

const trimmed = (path: string): string => path.replace(/^\.?\/+/, "").replace(/\/+$/, "");

function inFolder(paths: readonly string[], folder: string): readonly string[] {
  const root = trimmed(folder);
  return root === "" ? paths : paths.filter((path) => path.startsWith(`${root}/`));
}

/** What a path below the configuration's folder tells of its split; undefined where it tells nothing. */
type SplitRule = (inside: string) => string | undefined;

const RULES: readonly SplitRule[] = [
  (inside) => /^data\/([\w.]+)-\d{5}-of-\d{5}[^/]*$/.exec(inside)?.[1],
  (inside) => splitIn(inside.split("/").slice(0, -1)),
  (inside) => splitIn(inside.split("/").slice(-1)),
];

/** By the first rule that tells of any file what split it is of. */
function splitsByName(paths: readonly string[], folder: string): Splits {
  const root = trimmed(folder);
  for (const rule of RULES) {
    const splits = new Map<string, string[]>();
    for (const path of paths) {
      const split = rule(root === "" ? path : path.slice(root.length + 1));
      const known = split === undefined ? undefined : splits.get(split);
      if (known !== undefined) known.push(path);
      else if (split !== undefined) splits.set(split, [path]);
    }
    if (splits.size > 0) return splits;
  }
  return new Map([["train", paths]]);
}

/** The split whose word stands in one of the names by itself: in "my-train.csv", not in "constraint.csv". */
function splitIn(names: readonly string[]): string | undefined {
  const says = (word: string): boolean =>
    names.some((name) => new RegExp(`(^|[-._ 0-9])${word}([-._ 0-9]|$)`).test(name.toLowerCase()));
  return Object.entries(KEYWORDS).find(([, words]) => words.some(says))?.[0];
}

/** Those of the commonest format: rows that lie there twice are read once. */
function oneFormat(paths: readonly string[]): readonly string[] {
  const counts = FORMATS.map((format) => paths.filter((path) => extensionOf(path) === format));
  return counts.reduce((most, each) => (each.length > most.length ? each : most));
}
