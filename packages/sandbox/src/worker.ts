/**
 * The worker that scores: one item after the other, telling in shared memory which one it is at, so that the pool can see
 * an item that hangs and kill the thread.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import { OarlockError } from "@oarlock/errors";
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
  const loaded = await importCode(recipe.code);
  const found = loaded[recipe.export] ?? loaded["default"];
  if (typeof found !== "function") {
    const exported = Object.keys(loaded).join(", ") || "nothing";
    throw new OarlockError("REWARD_EXPORT", `no function "${recipe.export}" is exported, only: ${exported}`);
  }
  return (input) => applyReward(found as RewardFunction, input);
}

/** Imports a module from its text. Its file is there only meanwhile: whoever is killed leaves nothing behind. */
async function importCode(code: string): Promise<Record<string, unknown>> {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-rewards-"));
  try {
    const file = join(folder, "reward.mjs");
    writeFileSync(file, code, { mode: 0o600 });
    return (await import(pathToFileURL(file).href)) as Record<string, unknown>; // a module's exports are unknown by nature
  } finally {
    rmSync(folder, { recursive: true, force: true });
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
    const message = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason);
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
