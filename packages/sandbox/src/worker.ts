/**
 * The worker that scores: one item after the other, telling in shared memory which one it is at, so that the pool can see
 * an item that hangs and kill the thread.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import {
  applyReward,
  createVerifier,
  failed,
  type RewardFunction,
  type ScoringInput,
  type Verdict,
} from "@oarlock/rewards";
import {
  type FromWorker,
  type Item,
  type LoadFault,
  monotonicMs,
  type ScoredItem,
  type ScorerRecipe,
  type ToWorker,
  type WorkerSetup,
} from "./protocol.ts";

/** Verdicts are sent together, but none waits longer than this for its neighbours. */
const FLUSH_MS = 5;

type Scorer = (input: ScoringInput) => Verdict | Promise<Verdict>;

async function makeScorer(recipe: ScorerRecipe): Promise<Scorer> {
  if (recipe.kind === "verifier") return createVerifier(recipe.type, recipe.options);
  const found = findExport(await importCode(recipe.code), recipe.export);
  return (input) => applyReward(found, input);
}

// What it takes and gives is checked with each call.
const isFunction = (value: unknown): value is RewardFunction => typeof value === "function";

/** The export of that name, or the default one. What a CommonJS file exports is the default export of its bundle. */
function findExport(loaded: Record<string, unknown>, name: string): RewardFunction {
  const whole = loaded["default"];
  const parts = new Map<string, unknown>(
    typeof whole === "object" && whole !== null ? Object.entries(whole) : [],
  );
  const found = [loaded[name], parts.get(name), whole, parts.get("default")].find(isFunction);
  if (found !== undefined) return found;
  const exported = [...new Set([...Object.keys(loaded), ...parts.keys()])].join(", ") || "nothing";
  throw new OarlockError(
    "REWARD_EXPORT",
    `no function ${JSON.stringify(name)} is exported, only: ${exported}; accepted: export const ${name} = ({ completion }) => …, ` +
      "a default export that is a function, or another name as function.export",
  );
}

/**
 * Imports a module from its text. Its folder is gone before it runs, so whoever hangs, exits or is killed then leaves nothing
 * behind: all modules of an import are read before the first of them runs, and they run in the order of their imports.
 */
async function importCode(code: string): Promise<Record<string, unknown>> {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-rewards-"));
  const remove = `rmSync(${JSON.stringify(folder)}, { recursive: true, force: true });`;
  const modules = {
    "remove.mjs": `import { rmSync } from "node:fs"; ${remove}`,
    "reward.mjs": code,
    "entry.mjs": 'import "./remove.mjs"; export * as reward from "./reward.mjs";',
  };
  try {
    for (const [name, text] of Object.entries(modules))
      writeFileSync(join(folder, name), text, { mode: 0o600 });
    const entry = (await import(pathToFileURL(join(folder, "entry.mjs")).href)) as {
      readonly reward: Record<string, unknown>; // a module's exports are unknown by nature
    };
    return entry.reward;
  } finally {
    rmSync(folder, { recursive: true, force: true }); // where it was not even compiled
  }
}

interface Loaded {
  readonly scorer: Scorer;
  readonly fault?: LoadFault;
}

/** A scorer that cannot be made fails all of its own items and none of its neighbours'. */
async function loadScorer(recipe: ScorerRecipe, scorer: number): Promise<Loaded> {
  try {
    return { scorer: await makeScorer(recipe) };
  } catch (reason) {
    const message = isOarlockError(reason)
      ? reason.rawMessage
      : reason instanceof Error
        ? `${reason.name}: ${reason.message}`
        : String(reason);
    return { scorer: () => failed("REWARD_LOAD", message), fault: { scorer, message } };
  }
}

async function main(): Promise<void> {
  const port = parentPort;
  if (!port) throw new OarlockError("SANDBOX_NOT_A_WORKER", "this file is the entry of a worker thread");
  const { recipes, progress } = workerData as WorkerSetup;
  const loaded = await Promise.all(recipes.map(loadScorer));
  const words = new Int32Array(progress);
  const send = (message: FromWorker): void => port.postMessage(message);

  const score = async (item: Item): Promise<ScoredItem> => {
    Atomics.store(words, 1, monotonicMs());
    Atomics.store(words, 0, item.number);
    const verdict =
      (await loaded[item.scorer]?.scorer(item.input)) ?? failed("SCORER_UNKNOWN", `no scorer ${item.scorer}`);
    Atomics.store(words, 0, 0);
    return { number: item.number, verdict };
  };

  const scoreAll = async (items: ToWorker): Promise<void> => {
    let done: ScoredItem[] = [];
    let sinceMs = performance.now();
    const flush = (): void => {
      if (done.length > 0) send({ done });
      [done, sinceMs] = [[], performance.now()];
    };
    // Also while an item waits for something: if it ends the thread, what is done is not done again.
    const timer = setInterval(flush, FLUSH_MS);
    for (const item of items) {
      const scored = await score(item);
      done.push(scored); // not before the wait: `done` may be another list after it
      if (performance.now() - sinceMs >= FLUSH_MS) flush();
    }
    clearInterval(timer);
    flush();
  };

  let running: Promise<void> = Promise.resolve();
  port.on("message", (items: ToWorker) => (running = running.then(() => scoreAll(items))));
  send({ ready: loaded.flatMap(({ fault }) => (fault ? [fault] : [])) });
}

await main();
