/**
 * One killable thread and the items that it has. An item that outlives its deadline or kills its thread is tried once more
 * on a fresh one: a machine that paused, or what an earlier item left running, must not decide a reward (D1c). Then it is
 * `Failed`, and no other item is. It does not know what scorers do, nor of other threads.
 */
import { createRequire } from "node:module";
import { Worker } from "node:worker_threads";
import { type Failed, failed, type ScoringInput, type Verdict } from "@oarlock/rewards";
import {
  type FromWorker,
  type Item,
  type LoadFault,
  monotonicMs,
  type ScorerRecipe,
  type WorkerSetup,
} from "./protocol.ts";

/** How often a thread is looked at while it has work. */
const WATCH_MS = 20;
/** Threads that an item may cost before it has failed, and starts in a row that may fail before all that wait have. */
const MAX_ATTEMPTS = 2;
/** A thread that cannot even load its scorers in this time is taken for dead. */
const START_TIMEOUT_MS = 30_000;
/** A thread that has items, is at none and says nothing for so long is taken for dead: an earlier item left it busy (L1). */
const SILENCE_MS = 2_000;
const MAX_HEAP_MB = 512;

export interface ThreadOptions {
  readonly recipes: readonly ScorerRecipe[];
  /** Deadline of one item, by scorer, milliseconds. */
  readonly timeoutsMs: readonly number[];
}

interface Waiting {
  readonly item: Item;
  /** Threads that it has cost. */
  readonly attempts: number;
  readonly resolve: (verdict: Verdict) => void;
}

export class ScoringThread {
  readonly #options: ThreadOptions;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #progress = new Int32Array(new SharedArrayBuffer(8));
  #startedMs = 0;
  #ready = false;
  /** Threads in a row that ended before they had loaded their scorers. */
  #failedStarts = 0;
  /** When it was first seen at no item, with items waiting. */
  #silentSinceMs: number | undefined;
  #watch: NodeJS.Timeout | undefined;
  #nextNumber = 1;
  #closed = false;
  #opened: ((faults: readonly LoadFault[]) => void) | undefined;

  constructor(options: ThreadOptions) {
    this.#options = options;
  }

  /** Starts the thread ahead of its work. Resolves with what could not be loaded; never rejects. */
  open(): Promise<readonly LoadFault[]> {
    return new Promise((resolve) => {
      this.#opened = resolve;
      this.#start();
      this.#watch ??= setInterval(() => this.#look(), WATCH_MS);
    });
  }

  /** Items without a verdict. */
  get load(): number {
    return this.#waiting.size;
  }

  /** The verdicts of one scorer on inputs, in their order. Never rejects. */
  score(scorer: number, inputs: readonly ScoringInput[]): Promise<Verdict[]> {
    const verdicts = inputs.map(
      (input) =>
        new Promise<Verdict>((resolve) => {
          const item = { number: this.#nextNumber++, scorer, input };
          this.#waiting.set(item.number, { item, attempts: 0, resolve });
        }),
    );
    if (inputs.length > 0) this.#send(inputs.length);
    return Promise.all(verdicts);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#watch);
    for (const { resolve } of this.#waiting.values()) resolve(failed("SCORER_CLOSED", "the run ended", true));
    this.#waiting.clear();
    await this.#worker?.terminate();
  }

  #send(newest: number): void {
    if (!this.#worker) return this.#start();
    const items = [...this.#waiting.values()].slice(-newest).map(({ item }) => item);
    this.#worker.postMessage(items);
    this.#watch ??= setInterval(() => this.#look(), WATCH_MS);
  }

  #start(): void {
    const setup: WorkerSetup = { recipes: this.#options.recipes, progress: new SharedArrayBuffer(8) };
    const entry = createRequire(import.meta.url).resolve("@oarlock/sandbox/worker");
    const worker = new Worker(entry, {
      workerData: setup,
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
      stdout: true,
    });
    worker.stdout.pipe(process.stderr, { end: false }); // a reward's prints must not disturb the program's own output
    this.#worker = worker;
    this.#progress = new Int32Array(setup.progress);
    this.#startedMs = performance.now();
    this.#ready = false;
    this.#silentSinceMs = undefined;
    worker.on("message", (message: FromWorker) => this.#receive(message));
    worker.on("error", (error) => this.#died(worker, `its thread died: ${error.message}`));
    worker.on("exit", (code) => this.#died(worker, `its thread ended with code ${code}`));
    this.#send(this.#waiting.size);
  }

  #receive(message: FromWorker): void {
    this.#silentSinceMs = undefined;
    if ("ready" in message) {
      this.#ready = true;
      this.#failedStarts = 0;
      this.#opened?.(message.ready);
    } else for (const { number, verdict } of message.done) this.#settle(number, verdict);
    if (this.#waiting.size > 0) return;
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  #settle(number: number, verdict: Verdict): void {
    this.#waiting.get(number)?.resolve(verdict);
    this.#waiting.delete(number);
  }

  /** Kills the thread where its present item is over its deadline. */
  #look(): void {
    const worker = this.#worker;
    if (!worker) return;
    if (!this.#ready) {
      if (performance.now() - this.#startedMs > START_TIMEOUT_MS)
        this.#died(
          worker,
          `it was not imported in ${START_TIMEOUT_MS} ms: what a file does when it is imported must end`,
        );
      return;
    }
    const current = this.#waiting.get(Atomics.load(this.#progress, 0));
    if (!current) return this.#checkSilence(worker);
    this.#silentSinceMs = undefined;
    const elapsedMs = (monotonicMs() - Atomics.load(this.#progress, 1)) & 0x7fff_ffff;
    const limitMs = this.#options.timeoutsMs[current.item.scorer] ?? 0;
    if (elapsedMs <= limitMs) return;
    // The thread may have moved on since: the verdict is for the item that was too slow, not for the one it is at.
    this.#abandon(
      worker,
      failed("REWARD_TIMEOUT", `no verdict within ${limitMs} ms`, true),
      current.item.number,
    );
  }

  #checkSilence(worker: Worker): void {
    this.#silentSinceMs ??= performance.now();
    if (performance.now() - this.#silentSinceMs > SILENCE_MS)
      this.#died(worker, `its thread was silent for ${SILENCE_MS} ms`);
  }

  #died(worker: Worker, how: string): void {
    if (worker !== this.#worker || this.#closed) return;
    this.#abandon(worker, failed("REWARD_CRASHED", how));
  }

  /** Ends the thread; item `at` has one attempt less, and a fresh thread has the rest. No item is to blame for a start. */
  #abandon(worker: Worker, verdict: Failed, at = Atomics.load(this.#progress, 0)): void {
    this.#worker = undefined;
    void worker.terminate();
    clearInterval(this.#watch);
    this.#watch = undefined;
    if (this.#ready) this.#retryOrSettle(at === 0 ? (this.#waiting.keys().next().value ?? 0) : at, verdict);
    else this.#startFailed(verdict);
    this.#opened?.(this.#options.recipes.map((_, scorer) => ({ scorer, message: verdict.reason })));
    if (this.#waiting.size > 0) this.#start();
  }

  #startFailed(verdict: Failed): void {
    this.#failedStarts += 1;
    if (this.#failedStarts < MAX_ATTEMPTS) return;
    this.#failedStarts = 0;
    for (const number of this.#waiting.keys()) this.#settle(number, verdict);
  }

  #retryOrSettle(number: number, verdict: Failed): void {
    const waiting = this.#waiting.get(number);
    if (!waiting) return;
    if (waiting.attempts + 1 >= MAX_ATTEMPTS) return this.#settle(number, verdict);
    this.#waiting.delete(number); // and again at the end: the others do not wait for it
    this.#waiting.set(number, { ...waiting, attempts: waiting.attempts + 1 });
  }
}
