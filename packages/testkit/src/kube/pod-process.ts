/** One pod of the test kubelet: its first container as a local process, with probes, restarts, grace and last words. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inheritedEnvironment } from "../config.ts";
import {
  environmentOf,
  type EnvironmentSources,
  expanded,
  type KubeContainer,
  translate,
} from "./pod-spec.ts";
import { readinessOf } from "./probe.ts";

interface End {
  readonly exitCode: number;
  readonly message: string;
}

export interface PodStatus {
  readonly phase: "Pending" | "Running" | "Succeeded" | "Failed";
  readonly ready: boolean;
  readonly restarts: number;
  readonly terminated?: End;
  /** Before its restart. */
  readonly last?: End;
}

export interface PodProcessOptions extends EnvironmentSources {
  readonly folder: string;
  /** Programs of the image by name: what a command's first word is run as. */
  readonly programs: Readonly<Record<string, readonly string[]>>;
  /** Of every container, below its own. */
  readonly environment: Readonly<Record<string, string>>;
  readonly report: (status: PodStatus) => Promise<void>;
}

export interface PodProcess {
  readonly pid: number | undefined;
  log(): string;
  /** SIGTERM, SIGKILL after the grace period; resolves when it is gone and that is reported. */
  end(graceSeconds: number): Promise<void>;
  /** SIGKILL, as when the node dies or the kernel runs out of memory. */
  kill(): void;
}

const KEPT_CHARACTERS = 1_000_000;
const MESSAGE_CHARACTERS = 4_096;
const RESTART_MS = 1_000;

/** Starts it. */
export function startPod(options: PodProcessOptions): PodProcess {
  const { pod, folder, report } = options;
  const [container] = pod.spec.containers;
  if (container === undefined) throw new Error(`pod ${pod.metadata.name} has no container`);
  const readiness = readinessOf(container);
  mkdirSync(folder, { recursive: true });
  const state = {
    log: "",
    restarts: 0,
    ready: false,
    ending: false,
    child: undefined as ChildProcess | undefined,
  };
  let over = (): void => undefined;
  const gone = new Promise<void>((resolve) => (over = resolve));
  const keep = (text: string): void => void (state.log = (state.log + text).slice(-KEPT_CHARACTERS));

  const start = async (): Promise<void> => {
    if (state.ending) return ended(143);
    const child = await launch(container, options);
    state.child = child;
    child.stdout?.on("data", (data: Buffer) => keep(data.toString()));
    child.stderr?.on("data", (data: Buffer) => keep(data.toString()));
    child.on("error", (error) => keep(`${error.message}\n`));
    // A program that cannot be run ends without an exit.
    child.on("close", (code, signal) => void ended(code ?? (signal === "SIGTERM" ? 143 : 137)));
    if (readiness === undefined) state.ready = true;
    await report({ phase: "Running", ready: state.ready, restarts: state.restarts });
  };
  // What its environment names may be gone with the API server.
  const begin = (): void => void start().catch((reason: unknown) => keep(`${String(reason)}\n`));
  const ended = async (exitCode: number): Promise<void> => {
    state.child = undefined;
    state.ready = false;
    const { restartPolicy } = pod.spec;
    const again = restartPolicy === "Always" || (restartPolicy === "OnFailure" && exitCode !== 0);
    if (again && !state.ending) {
      state.restarts++;
      const last = { exitCode, message: lastWords(folder, { log: state.log, exitCode }) };
      await report({ phase: "Running", ready: false, restarts: state.restarts, last });
      setTimeout(begin, RESTART_MS);
      return;
    }
    clearInterval(probing);
    const message = lastWords(folder, { log: state.log, exitCode });
    const phase = exitCode === 0 ? "Succeeded" : "Failed";
    await report({ phase, ready: false, restarts: state.restarts, terminated: { exitCode, message } });
    over();
  };
  const probe = async (): Promise<void> => {
    if (readiness === undefined || state.child === undefined) return;
    const ready = await readiness(options.podIp);
    if (ready === state.ready || state.child === undefined) return;
    state.ready = ready;
    await report({ phase: "Running", ready, restarts: state.restarts });
  };
  // Faster than the manifest asks: tests do not wait for the period.
  const probing = setInterval(() => void probe(), 250);
  begin();
  return {
    get pid() {
      return state.child?.pid;
    },
    log: () => state.log,
    async end(graceSeconds) {
      state.ending = true;
      const { child } = state;
      if (child === undefined) return gone;
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), graceSeconds * 1000);
      await gone;
      clearTimeout(late);
    },
    kill: () => void state.child?.kill("SIGKILL"),
  };
}

async function launch(container: KubeContainer, options: PodProcessOptions): Promise<ChildProcess> {
  const { mounts, programs, folder } = options;
  const path = container.terminationMessagePath ?? "/dev/termination-log";
  const withMessage = new Map([...mounts, [path, join(folder, "termination-log")]]);
  const env = await environmentOf(container.env ?? [], { ...options, mounts: withMessage });
  const words = [...(container.command ?? []), ...(container.args ?? [])].map((word) =>
    translate(expanded(word, env), withMessage),
  );
  const [first = "", ...rest] = words;
  const [file = first, ...before] = programs[first] ?? [first];
  // The words of the container before are its own.
  rmSync(join(folder, "termination-log"), { force: true });
  const { PATH = "" } = inheritedEnvironment();
  return spawn(file, [...before, ...rest], {
    env: { PATH, ...options.environment, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

/** As with `terminationMessagePolicy: FallbackToLogsOnError`. */
function lastWords(
  folder: string,
  { log, exitCode }: { readonly log: string; readonly exitCode: number },
): string {
  const file = join(folder, "termination-log");
  if (existsSync(file)) return readFileSync(file, "utf8").slice(0, MESSAGE_CHARACTERS);
  return exitCode === 0 ? "" : log.slice(-MESSAGE_CHARACTERS);
}
