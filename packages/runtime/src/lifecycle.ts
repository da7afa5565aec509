/**
 * The life of a service: start, drain when told, shut down in order, once. Parts register how they end; the last one
 * registered ends first. It does not know what the parts are.
 */
import { causeChain, OarlockError } from "@oarlock/errors";
import { type Clock, systemClock } from "./clock.ts";
import { waitFor } from "./deadline.ts";
import { type Log, silentLog } from "./log.ts";

/** How a service may end, and who says so. */
export interface LifecycleOptions {
  readonly name: string;
  readonly log?: Log;
  readonly clock?: Clock;
  /** For all parts together; a part that is late is named and left behind. Default 10 000. */
  readonly graceMs?: number;
}

type Ending = () => void | Promise<void>;

/** Ordered shutdown with a deadline. */
export class Lifecycle implements AsyncDisposable {
  readonly #options: Required<LifecycleOptions>;
  readonly #draining = new AbortController();
  readonly #parts: { name: string; end: Ending }[] = [];
  readonly #listening: [NodeJS.Signals, () => void][] = [];
  #ended: Promise<void> | undefined;

  constructor(options: LifecycleOptions) {
    this.#options = { log: silentLog, clock: systemClock, graceMs: 10_000, ...options };
  }

  /** Aborts when the service shall take no new work. */
  get signal(): AbortSignal {
    return this.#draining.signal;
  }

  get draining(): boolean {
    return this.#draining.signal.aborted;
  }

  /** Registers how a part ends. Ends run one after the other, the newest part first. */
  onEnd(name: string, end: Ending): void {
    this.#parts.push({ name, end });
  }

  /** Registers a disposable part and gives it back. */
  use<T extends AsyncDisposable>(name: string, part: T): T {
    this.onEnd(name, async () => {
      await part[Symbol.asyncDispose]();
    });
    return part;
  }

  /** Shuts down on SIGINT and SIGTERM; a second signal exits at once with 128 + its number. */
  listenToSignals(signals: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM"]): void {
    for (const signal of signals) {
      const listener = (): void => {
        if (this.draining) process.exit(signal === "SIGINT" ? 130 : 143);
        this.end(signal).catch((reason: unknown) => {
          this.#options.log.error("shutdown was not clean", { err: reason });
          process.exitCode = 1;
        });
      };
      process.on(signal, listener);
      this.#listening.push([signal, listener]);
    }
  }

  /**
   * Drains and ends every part; the same promise for every caller.
   *
   * @throws OarlockError `SHUTDOWN_INCOMPLETE` that names the parts which failed or were late, after all had their turn.
   */
  end(why: string): Promise<void> {
    this.#ended ??= this.#end(why);
    return this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end("disposed");
  }

  async #end(why: string): Promise<void> {
    const { name, log, clock, graceMs } = this.#options;
    log.info("draining", { service: name, why });
    this.#draining.abort(new OarlockError("DRAINING", `${name} is draining: ${why}`, { retryable: true }));
    const untilMs = clock.monotonicMs() + graceMs;
    const failures: string[] = [];
    for (const part of this.#parts.toReversed()) {
      const timeoutMs = Math.max(0, untilMs - clock.monotonicMs());
      try {
        await waitFor(`${part.name} to end`, async () => part.end(), { timeoutMs, clock });
      } catch (reason) {
        failures.push(`${part.name}: ${causeChain(reason).join(": ")}`);
        log.error("a part did not end cleanly", { service: name, part: part.name, err: reason });
      }
    }
    for (const [signal, listener] of this.#listening) process.removeListener(signal, listener);
    if (failures.length > 0) throw new OarlockError("SHUTDOWN_INCOMPLETE", `${name}: ${failures.join("; ")}`);
    log.info("ended", { service: name });
  }
}
