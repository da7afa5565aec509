/**
 * One service of a run as a child process: started, started again when it dies, ended when told. Its log lines go to a file
 * of the run folder; what they say of its address and of its last error is kept. It does not know what the service does.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createWriteStream } from "node:fs";
import type { WriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { OarlockError } from "@oarlock/errors";
import { sleep, waitFor } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";
import { type ChildRole, verdictOf } from "./restarts.ts";

export interface ChildOptions {
  readonly role: ChildRole;
  /** "actor-0". */
  readonly instance: string;
  /** The service's program. */
  readonly program: string;
  readonly environment: Environment;
  /** Log file, appended to. */
  readonly logPath: string;
  /** A line of its standard output. */
  readonly onLine?: (line: string) => void;
  /** It started, got its address, or ended. */
  readonly onChange: () => void;
}

/** What is known of a child. */
export interface ChildFacts {
  readonly role: ChildRole;
  readonly instance: string;
  readonly pid: number | undefined;
  readonly address: string | undefined;
  readonly restarts: number;
}

/** One that served for so long got something done. */
const FRUITFUL_MS = 10_000;

export class Child {
  readonly #options: ChildOptions;
  readonly #log: WriteStream;
  readonly #ending = new AbortController();
  readonly #over: Promise<void>;
  #process: ChildProcess | undefined;
  #address: string | undefined;
  #restarts = 0;
  #fruitless = 0;
  #lastError = "";

  constructor(options: ChildOptions) {
    this.#options = options;
    this.#log = createWriteStream(options.logPath, { flags: "a" });
    // A full disk takes its log, not the run.
    this.#log.on("error", (error) => (this.#lastError = error.message));
    this.#over = this.#live().finally(() => this.#log.end());
    this.#over.catch(() => undefined);
  }

  /** Resolves when it has done its work or was ended; rejects with `CHILD_FAILED` when it is given up. */
  get over(): Promise<void> {
    return this.#over;
  }

  facts(): ChildFacts {
    const { role, instance } = this.#options;
    return { role, instance, pid: this.#process?.pid, address: this.#address, restarts: this.#restarts };
  }

  /** It got something done: the next death is the first of its row. */
  progressed(): void {
    this.#fruitless = 0;
  }

  /** Tells it to end, and kills it after the grace. */
  async end(graceMs: number): Promise<void> {
    this.#ending.abort();
    this.#process?.kill("SIGTERM");
    const name = `${this.#options.instance} to end`;
    await waitFor(name, this.#over, { timeoutMs: graceMs }).catch(async () => {
      this.#process?.kill("SIGKILL");
      await this.#over.catch(() => undefined);
    });
  }

  async #live(): Promise<void> {
    const { role, instance } = this.#options;
    const { signal } = this.#ending;
    while (!signal.aborted) {
      const startedMs = performance.now();
      const { code, signal: killedBy } = await this.#run();
      if (signal.aborted) return;
      if (role !== "learner" && performance.now() - startedMs > FRUITFUL_MS) this.#fruitless = 0;
      const exit = { role, code, signal: killedBy, fruitless: ++this.#fruitless };
      const verdict = verdictOf(exit);
      if (verdict.type === "over") return;
      if (verdict.type === "give-up") {
        const because = this.#lastError === "" ? "" : `: ${this.#lastError}`;
        throw new OarlockError("CHILD_FAILED", `${instance}: ${verdict.reason}${because}`);
      }
      this.#restarts++;
      await sleep(verdict.afterMs, { signal }).catch(() => undefined);
    }
  }

  async #run(): Promise<{ readonly code: number | undefined; readonly signal: string | undefined }> {
    const { program, environment, onLine, onChange } = this.#options;
    const child = spawn(process.execPath, [program], {
      env: { ...environment, OARLOCK_END_WITH_STDIN: "true" },
      stdio: ["pipe", "pipe", "pipe"],
      // Ctrl-C reaches the whole group of a terminal: who ends first is ours to say.
      detached: true,
    });
    this.#process = child;
    // A child that dies breaks the pipe that we only hold open.
    child.stdin.on("error", () => undefined);
    createInterface({ input: child.stdout }).on("line", (line) => onLine?.(line));
    createInterface({ input: child.stderr }).on("line", (line) => this.#read(line));
    onChange();
    const ended = await new Promise<{ code: number | undefined; signal: string | undefined }>((resolve) => {
      child.once("error", (error) => {
        this.#lastError = error.message;
        resolve({ code: undefined, signal: undefined });
      });
      // Not "exit": what it wrote last is read by then.
      child.once("close", (code, signal) =>
        resolve({ code: code ?? undefined, signal: signal ?? undefined }),
      );
    });
    this.#process = undefined;
    this.#address = undefined;
    onChange();
    return ended;
  }

  #read(line: string): void {
    this.#log.write(`${line}\n`);
    // Written by the services' log; a foreign object has none of these fields and changes nothing.
    const fields = parseLine(line) as LogLine | undefined;
    if (fields === undefined) {
      if (line.trim() !== "") this.#lastError = line.trim();
      return;
    }
    if (fields.message === "started" && fields.address !== undefined) {
      this.#address = fields.address;
      this.#options.onChange();
    }
    if (fields.level === "error") this.#lastError = fields.err?.message ?? fields.message ?? "";
  }
}

interface LogLine {
  readonly level?: string;
  readonly message?: string;
  readonly address?: string;
  readonly err?: { readonly message?: string };
}

/** The object of a line; undefined for anything else that a process may write, and for half a line of one that was killed. */
export function parseLine(line: string): unknown {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
