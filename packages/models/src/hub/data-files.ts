/**
 * Which files of a data set are the rows of a split. Pure: by what the repository's card says of its configurations, else by
 * the names, as the `datasets` library has it ("data/train-00000-of-00002.parquet", "main/test.jsonl", "dev.csv").
 */
import { OarlockError } from "@oarlock/errors";

/** What a user asks for. */
export interface DataSelection {
  /** "" = the only one, or the default one. */
  readonly config: string;
  readonly split: string;
}

/** The formats that are read, the preferred one first: a repository may hold the same rows in several. */
const FORMATS = [".parquet", ".jsonl", ".ndjson", ".json", ".csv"];
/** What splits are called in names of files and folders. */
const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  train: ["train", "training"],
  validation: ["validation", "valid", "dev", "val"],
  test: ["test", "testing", "eval", "evaluation"],
};
/** Files that describe others. */
const NO_DATA =
  /(^|\/)(\.[^/]*|dataset_infos\.json|package(-lock)?\.json|tokenizer[^/]*\.json|config\.json)$/;
/** A pattern of a card is data of others: beyond these it is no pattern. */
const MAX_PATTERN_CHARACTERS = 512;
const MAX_STARS = 8;

/**
 * The files of the split, in the order of their rows. `configurations` is `configs` of the card, as the hub gives it.
 * Throws `DATA_SPLIT`, naming what there is.
 */
export function chooseDataFiles(
  paths: readonly string[],
  selection: DataSelection,
  configurations?: unknown,
): readonly string[] {
  const readable = paths.filter((path) => formatOf(path) !== undefined && !NO_DATA.test(path)).toSorted();
  const chosen = configurationOf(selection.config, configurations);
  const splits =
    chosen === undefined
      ? splitsByName(inFolder(readable, selection.config))
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

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const texts = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [value]).filter((each) => typeof each === "string");

function configuration(entry: unknown): readonly Configuration[] {
  if (!isRecord(entry) || typeof entry["config_name"] !== "string") return [];
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
  const named = entries.filter(isRecord).filter(({ split }) => typeof split === "string");
  if (named.length > 0) return new Map(named.map(({ split, path }) => [String(split), texts(path)]));
  const all = texts(files);
  return all.length > 0 ? new Map([["train", all]]) : undefined;
}

type Splits = ReadonlyMap<string, readonly string[]>;

function splitsOfConfiguration(paths: readonly string[], { folder, patterns }: Configuration): Splits {
  const inside = inFolder(paths, folder);
  if (patterns === undefined) return splitsByName(inside);
  const root = folder === "" ? "" : `${trimmed(folder)}/`;
  const ofSplit = (of: readonly string[]): readonly string[] =>
    of.flatMap((pattern) => {
      const matches = matcher(root + trimmed(pattern));
      return inside.filter((path) => matches.test(path));
    });
  return new Map([...patterns].map(([split, of]) => [split, [...new Set(ofSplit(of))]]));
}

const trimmed = (path: string): string => path.replace(/^\.?\/+/, "").replace(/\/+$/, "");

function inFolder(paths: readonly string[], folder: string): readonly string[] {
  const root = trimmed(folder);
  return root === "" ? paths : paths.filter((path) => path.startsWith(`${root}/`));
}

/** By numbered files, else by words in the names; files without any are all "train". */
function splitsByName(paths: readonly string[]): Splits {
  const splits = new Map<string, string[]>();
  const put = (split: string, path: string): void =>
    void splits.set(split, [...(splits.get(split) ?? []), path]);
  for (const path of paths) {
    const numbered = /(?:^|\/)([\w.]+)-\d{5}-of-\d{5}[^/]*$/.exec(path)?.[1];
    const named = Object.entries(KEYWORDS).find(([, words]) => words.some((word) => says(path, word)))?.[0];
    const split = numbered ?? named;
    if (split !== undefined) put(split, path);
  }
  return splits.size > 0 ? splits : new Map([["train", paths]]);
}

/** Whether a word stands in a path by itself: "my-train.csv", "train/a.csv", not "constraint.csv". */
const says = (path: string, word: string): boolean =>
  new RegExp(`(^|[-._ /0-9])${word}([-._ /0-9]|$)`).test(path.toLowerCase());

/** The extension of a format that is read, gzip aside. */
function formatOf(path: string): string | undefined {
  const bare = path.toLowerCase().replace(/\.gz$/, "");
  return FORMATS.find((extension) => bare.endsWith(extension));
}

/** Those of the commonest format: rows that lie there twice are read once. */
function oneFormat(paths: readonly string[]): readonly string[] {
  const counts = FORMATS.map((format) => paths.filter((path) => formatOf(path) === format));
  return counts.reduce((most, each) => (each.length > most.length ? each : most));
}

/** `*` and `?` stay in a folder, `**` does not, `[…]` is one of these. */
function matcher(pattern: string): RegExp {
  const stars = pattern.match(/\*+/g)?.length ?? 0;
  if (pattern.length > MAX_PATTERN_CHARACTERS || stars > MAX_STARS)
    throw new OarlockError(
      "DATA_SPLIT",
      `the card names files by ${JSON.stringify(pattern.slice(0, 80))}, which is no pattern that is read`,
    );
  const part: Readonly<Record<string, string>> = { "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]" };
  const source = pattern.replace(
    /\*\*\/|\*\*|\*|\?|\[[\w-]+\]|[^*?[]+|\[/g,
    (piece) =>
      part[piece] ??
      (/^\[[\w-]+\]$/.test(piece) && isRange(piece) ? piece : piece.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")),
  );
  return new RegExp(`^${source}$`);
}

/** Whether a class of characters is one that a RegExp takes: "[9-0]" is none. */
function isRange(piece: string): boolean {
  try {
    return new RegExp(piece).source !== "";
  } catch {
    return false;
  }
}
