/** Completion of `kubectl oarlock …`, in the form that kubectl asks `kubectl_complete-oarlock` for: words, then a directive. */
import { openCluster, TRAINING_RUNS } from "./cluster.ts";

export const COMPLETED_COMMANDS: readonly string[] = [
  "submit",
  "why",
  "logs",
  "samples",
  "suspend",
  "resume",
  "checkpoint",
  "fetch",
  "doctor",
];

/** Cobra's directives: the shell completes file names, or it does not. */
const FILES = ":0";
const NO_FILES = ":4";

/** Prints what may follow the words that were typed; the last one is being typed. */
export async function complete(words: readonly string[]): Promise<void> {
  for (const line of await completions(words)) process.stdout.write(`${line}\n`);
}

async function completions(words: readonly string[]): Promise<readonly string[]> {
  const [command = "", ...rest] = words;
  const typed = words.at(-1) ?? "";
  if (rest.length === 0) return [...COMPLETED_COMMANDS.filter((name) => name.startsWith(typed)), NO_FILES];
  if (command === "submit") return [FILES];
  const given = rest.indexOf("-n");
  const namespace = given < 0 ? undefined : rest[given + 1];
  try {
    const cluster = openCluster(namespace === undefined ? {} : { namespace });
    const { items } = await cluster.client.list(TRAINING_RUNS, { namespace: cluster.namespace });
    cluster.close();
    return [...items.map(({ metadata }) => metadata.name).filter((name) => name.startsWith(typed)), NO_FILES];
  } catch {
    // A completion that fails says nothing: the command itself will say why.
    return [NO_FILES];
  }
}
