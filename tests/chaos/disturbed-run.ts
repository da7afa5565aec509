/**
 * A run on real processes that a test disturbs: it knows who is who, waits for moments, kills, and checks afterwards that
 * nothing was lost and nothing trained twice. What "undisturbed" means is one run of the same plan in one process.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNatsServer } from "@oarlock/bus";
import type { NatsServer } from "@oarlock/bus";
import { readNewestCheckpoint } from "@oarlock/checkpoint";
import { startProcessesRun } from "@oarlock/cli/processes";
import type { ChildFacts, ProcessesOutcome } from "@oarlock/cli/processes";
import { startLocalRun } from "@oarlock/cli/local";
import type { RunEvent } from "@oarlock/cli/local";
import { parseMetrics } from "@oarlock/report";
import type { ResolvedRun } from "@oarlock/runfile";
import { sleep } from "@oarlock/runtime";
import type { SmallDisk } from "@oarlock/testkit";
import { CHAOS_BASE } from "./chaos-plan.ts";

const UID = "chaos-1";
const POLL_MS = 3;
const MOMENT_TIMEOUT_MS = 60_000;

/** Digests of the policy after every step, and what the surviving lineage counts. */
export interface RunRecord {
  readonly digests: readonly string[];
  readonly groupsTrained: number;
  readonly incarnation: number;
}

/** The same plan, in one process and in peace. */
export async function undisturbed(run: ResolvedRun): Promise<readonly string[]> {
  const outDir = mkdtempSync(join(tmpdir(), "oarlock-calm-"));
  try {
    const local = await startLocalRun(run, { outDir, baseDir: CHAOS_BASE });
    await local.finished;
    return stepDigests(outDir);
  } finally {
    rmSync(outDir, { recursive: true, force: true });
  }
}

export interface DisturbedOptions {
  readonly run: ResolvedRun;
  /** The program. */
  readonly natsServer: string;
  /** Puts something between the processes and the broker: the address to use, given the broker's. */
  readonly between?: (server: NatsServer) => Promise<string>;
  readonly onEvent?: (event: RunEvent, run: DisturbedRun) => void;
  /** Further settings of the processes. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Puts disks into the run folder before anything starts; they are released before it is removed. */
  readonly disks?: (outDir: string) => readonly SmallDisk[];
}

export class DisturbedRun implements AsyncDisposable {
  readonly outDir: string = mkdtempSync(join(tmpdir(), "oarlock-chaos-"));
  /** What the broker said of its troubles. */
  readonly brokerErrors: string[] = [];
  readonly #options: DisturbedOptions;
  #server!: NatsServer;
  #finished!: Promise<ProcessesOutcome>;
  #children!: () => readonly ChildFacts[];
  #stop = new AbortController();
  #over = false;
  #disks: readonly SmallDisk[] = [];

  private constructor(options: DisturbedOptions) {
    this.#options = options;
  }

  static async start(options: DisturbedOptions): Promise<DisturbedRun> {
    const disturbed = new DisturbedRun(options);
    await disturbed.#start();
    return disturbed;
  }

  async #start(): Promise<void> {
    const { run, disks } = this.#options;
    this.#disks = disks?.(this.outDir) ?? [];
    writeFileSync(join(this.outDir, "plan.json"), JSON.stringify({ uid: UID, baseDir: CHAOS_BASE, run }));
    await this.startBroker();
    await this.#startProcesses();
  }

  async #startProcesses(): Promise<void> {
    const { run, onEvent, between } = this.#options;
    const url = between === undefined ? this.#server.url : await between(this.#server);
    this.#stop = new AbortController();
    const started = await startProcessesRun(run, {
      outDir: this.outDir,
      uid: UID,
      environment: { ...process.env, ...this.#options.environment, NATS_URL: url },
      signal: this.#stop.signal,
      ...(onEvent === undefined ? {} : { onEvent: (event) => onEvent(event, this) }),
    });
    this.#over = false;
    this.#children = () => started.children();
    this.#finished = started.finished.finally(() => (this.#over = true));
    this.#finished.catch(() => undefined);
  }

  /** Kills everything at once, the broker with its disk, and the supervisor's will to start them again. */
  async abandon(): Promise<void> {
    await this.#server.stop("SIGKILL");
    for (const { instance } of this.children()) this.signal(instance, "SIGSTOP");
    this.#stop.abort();
    for (const { instance } of this.children()) this.signal(instance, "SIGKILL");
    await this.#finished.catch(() => undefined);
    rmSync(join(this.outDir, "broker"), { recursive: true });
  }

  /** Starts everything again in the same run folder, on an empty broker. */
  async resume(): Promise<void> {
    await this.startBroker();
    await this.#startProcesses();
  }

  get over(): boolean {
    return this.#over;
  }

  get broker(): NatsServer {
    return this.#server;
  }

  async startBroker(): Promise<void> {
    const port = this.#server?.port ?? 0;
    this.#server = await startNatsServer({
      path: this.#options.natsServer,
      folder: join(this.outDir, "broker"),
      port,
      onError: (line) => this.brokerErrors.push(line),
    });
  }

  children(): readonly ChildFacts[] {
    return this.#children();
  }

  child(instance: string): ChildFacts {
    const found = this.children().find((child) => child.instance === instance);
    if (found === undefined) throw new Error(`no child ${instance}`);
    return found;
  }

  /** Sends a signal to a child that is alive; says whether there was one. */
  signal(instance: string, signal: NodeJS.Signals): boolean {
    const { pid } = this.child(instance);
    if (pid === undefined) return false;
    process.kill(pid, signal);
    return true;
  }

  /** Asks again and again, until it says yes. Fails when the run is over first. */
  async moment(name: string, ask: () => boolean | Promise<boolean>): Promise<void> {
    const untilMs = performance.now() + MOMENT_TIMEOUT_MS;
    while (!(await ask())) {
      if (this.#over) throw new Error(`the run was over before ${name}`);
      if (performance.now() > untilMs) throw new Error(`waited too long for ${name}`);
      await sleep(POLL_MS);
    }
  }

  /** Waits for the end; gives what is on record. */
  async finish(): Promise<RunRecord & { readonly outcome: ProcessesOutcome }> {
    const outcome = await this.#finished;
    const checkpoint = await readNewestCheckpoint({ folder: join(this.outDir, "checkpoints") });
    const state = checkpoint?.state as { readonly ledger: { readonly groupsTrained: number } };
    return {
      outcome,
      digests: stepDigests(this.outDir),
      groupsTrained: state.ledger.groupsTrained,
      incarnation: checkpoint?.incarnation ?? 0,
    };
  }

  /** The logs of all processes, for a failure's message. */
  logs(): string {
    return this.children()
      .map(({ instance }) => readFileSync(join(this.outDir, "logs", `${instance}.jsonl`), "utf8"))
      .join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#over) {
      // First: whoever dies is started again.
      this.#stop.abort();
      for (const { instance } of this.children()) this.signal(instance, "SIGKILL");
      await this.#finished.catch(() => undefined);
    }
    await this.#server.stop("SIGKILL").catch(() => undefined);
    for (const disk of this.#disks) disk.release();
    rmSync(this.outDir, { recursive: true, force: true });
  }
}

/** Every step once, in order: a step that is on record twice was trained twice (T1). */
export function stepDigests(outDir: string): string[] {
  const steps = parseMetrics(readFileSync(join(outDir, "metrics.jsonl"), "utf8")).filter(
    ({ kind }) => kind === "step",
  );
  return steps.map(({ policyDigest }) => policyDigest);
}
