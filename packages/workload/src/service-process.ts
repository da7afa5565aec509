/**
 * The life of one service as a process of its own: settings from the environment, the plan from its file, the bus, signals,
 * log lines, and what its exit code means. It does not know what the service does.
 */
import { writeFile } from "node:fs/promises";
import { connectJetStreamBus, readNatsOptions } from "@oarlock/bus";
import type { Bus } from "@oarlock/bus";
import { causeChain, isOarlockError, OarlockError } from "@oarlock/errors";
import type { Device } from "@oarlock/ort";
import { readRpcSecurity } from "@oarlock/rpc";
import type { RpcSecurity } from "@oarlock/rpc";
import type { ResolvedRun } from "@oarlock/runfile";
import { createLog, createSettingsReader, Lifecycle, systemClock } from "@oarlock/runtime";
import type { Clock, Environment, Log, LogLevel, Telemetry } from "@oarlock/runtime";
import { fetchBundles } from "./bundle-fetch.ts";
import { deviceOf, type Role } from "./device.ts";
import { openModel } from "./model.ts";
import type { OpenedModel } from "./model.ts";
import { readPlanFile } from "./plan-file.ts";
import { openRunTelemetry } from "./run-telemetry.ts";

/** What a service's process has been given when the service begins. */
export interface ServiceProcess {
  readonly run: ResolvedRun;
  readonly uid: string;
  readonly baseDir: string;
  readonly device: Device;
  readonly model: OpenedModel;
  readonly bus: Bus;
  readonly security: RpcSecurity;
  readonly lifecycle: Lifecycle;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  readonly log: Log;
}

/** Where else the process listens, and whom it is connected to. */
interface OtherAddresses {
  /** Of the NATS server, as it was given. */
  readonly nats: string;
  /** URL of `/metrics`, where it is served. */
  readonly metrics?: string;
}

/** A service that serves. */
export interface ServingProcess {
  /** `host:port` of its gRPC server. */
  readonly address: string;
  /** Settles when it is done: drained, finished, or failed. */
  readonly stopped: Promise<unknown>;
}

export interface ServiceRole {
  /** Its name in traces and metrics. */
  readonly role: Role;
  /** Role and number, e.g. "actor-0". */
  readonly instance: string;
  /** For what is in hand when the process is told to end. */
  readonly graceMs: number;
  /** Codes of failures while it serves after which another try would do no better. Default: none. */
  readonly final?: ReadonlySet<string>;
}

/** What the exit codes of a service mean; those of `oarlock` mean the same. */
export const SERVICE_EXIT = {
  /** It did what it was for, or was told to end and did so in order. */
  ok: 0,
  /** It broke off: another try may do better. */
  failed: 1,
  /** Its settings, plan, model or data are not usable as they are: another try would not do better. */
  refused: 3,
  /** The device that its plan computes on is not there: on another machine it may be. */
  deviceMissing: 6,
  /** It was told to end before its run was complete, and nothing is lost: started again, it continues. */
  interrupted: 130,
} as const;

/** For servers and the bus, after the drain. */
const CLOSING_MS = 10_000;
/** Kubernetes keeps no more of a last message. */
const MESSAGE_CHARACTERS = 4_096;
const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];

/**
 * Runs one service until it is done, fails, or the process gets SIGTERM or SIGINT; gives the exit code. Reads `OARLOCK_PLAN`,
 * `OARLOCK_UID` (default: the plan's), `OARLOCK_SOURCES` (folder of what the plan reads; default: the plan's), `OARLOCK_LOG_LEVEL`, `OARLOCK_END_WITH_STDIN`,
 * `OARLOCK_END_INTERRUPTED` (whether an orderly end by a signal is `interrupted`: where another is to take the place),
 * `OARLOCK_TERMINATION_MESSAGE` (file for the reason of a failure, which Kubernetes shows in the pod's status), and what `readNatsOptions` and `readRpcSecurity` read.
 */
export async function runServiceProcess(
  environment: Environment,
  role: ServiceRole,
  serve: (parts: ServiceProcess) => Promise<ServingProcess>,
): Promise<number> {
  const { instance, graceMs } = role;
  const settings = createSettingsReader(environment);
  const level = settings.choice("OARLOCK_LOG_LEVEL", LEVELS, "info");
  const log = createLog({ level, fields: { instance, pid: process.pid } });
  const lifecycle = new Lifecycle({ name: instance, log, graceMs: graceMs + CLOSING_MS });
  lifecycle.listenToSignals();
  if (settings.flag("OARLOCK_END_WITH_STDIN", false)) endWithStdin();
  const toldExit = SERVICE_EXIT[settings.flag("OARLOCK_END_INTERRUPTED", false) ? "interrupted" : "ok"];
  let serving = false;
  try {
    const { parts, addresses } = await open(environment, { ...role, lifecycle, log });
    const { address, stopped } = await serve(parts);
    serving = true;
    log.info("started", startLine(parts, { address, ...addresses }));
    await stopped;
    const told = lifecycle.draining;
    await lifecycle.end("its work is done");
    return told ? toldExit : SERVICE_EXIT.ok;
  } catch (reason) {
    const told = lifecycle.draining;
    // A signal during the start aborts whatever was being opened: that is an orderly end.
    if (!told) {
      log.error("failed", { err: reason });
      await leave(settings.text("OARLOCK_TERMINATION_MESSAGE"), reason);
    }
    const clean = await lifecycle.end("it failed").then(
      () => true,
      () => false,
    );
    if (told && clean) return toldExit;
    if (isOarlockError(reason, "DEVICE_MISSING")) return SERVICE_EXIT.deviceMissing;
    const isFinal = serving ? role.final?.has(codeOf(reason)) === true : !mayPass(reason);
    return isFinal ? SERVICE_EXIT.refused : SERVICE_EXIT.failed;
  }
}

/** One line of last words; whoever cannot write them still has the log. */
async function leave(file: string | undefined, reason: unknown): Promise<void> {
  if (file === undefined) return;
  const words = causeChain(reason).join(", because ").replaceAll(/\s+/g, " ");
  await writeFile(file, words.slice(0, MESSAGE_CHARACTERS)).catch(() => undefined);
}

/** What is no fault of the settings though it happens at the start. */
const MAY_PASS: ReadonlySet<string> = new Set(["BUS_UNREACHABLE", "BUS_LOST", "BUS_CLOSED"]);

function mayPass(reason: unknown): boolean {
  return !isOarlockError(reason) || reason.retryable || MAY_PASS.has(reason.code);
}

function codeOf(reason: unknown): string {
  return isOarlockError(reason) ? reason.code : "";
}

/**
 * A supervisor holds our standard input open while it lives. When it is killed nobody is left behind, and nobody hurries: what
 * is needed to go on is in checkpoints, as after any other death.
 */
function endWithStdin(): void {
  // Not `exit`, which waits for threads that compute; and no line, which only the supervisor would read.
  const end = (): void => void process.kill(process.pid, "SIGKILL");
  process.stdin.once("end", end).once("error", end).resume();
  // A line that nobody takes any more would end us as an error that nobody handles: by way of `exit`.
  process.stdout.once("error", end);
}

async function open(
  environment: Environment,
  of: ServiceRole & { readonly lifecycle: Lifecycle; readonly log: Log },
): Promise<{ readonly parts: ServiceProcess; readonly addresses: OtherAddresses }> {
  const { role, instance, lifecycle, log } = of;
  const { signal } = lifecycle;
  const settings = createSettingsReader(environment);
  const planPath = settings.text("OARLOCK_PLAN");
  if (planPath === undefined) throw missing("OARLOCK_PLAN", "the path of a run folder's plan.json");
  const nats = readNatsOptions(environment);
  if (nats === undefined)
    throw missing("NATS_URL", "the address of a NATS server, e.g. nats://127.0.0.1:4222");
  const { run, baseDir: plannedDir, uid: plannedUid } = await readPlanFile(planPath);
  const device = await deviceOf(run, role);
  const baseDir = settings.text("OARLOCK_SOURCES", plannedDir);
  const uid = settings.text("OARLOCK_UID", plannedUid);
  // Ends last: the endings of all others are still told.
  const telemetry = lifecycle.use("telemetry", await openRunTelemetry(run, { uid, log, environment }));
  const bus = await connectJetStreamBus({ ...nats, name: instance, signal, log });
  lifecycle.use("bus", bus);
  await fetchBundles({ spec: run.spec, role, bus, uid, folder: baseDir, signal });
  // Others than the learner have weights from it, and the model's own for nothing.
  const weights = role === "learner" ? "held" : "read anew";
  const model = await openModel(run.spec.model, { baseDir, seed: run.spec.seed, weights, signal });
  signal.throwIfAborted();
  const parts = {
    run,
    uid,
    baseDir,
    device,
    model,
    bus,
    security: readRpcSecurity(environment),
    lifecycle,
    telemetry: telemetry.service({ role, instance }),
    clock: systemClock,
    log,
  };
  const { metricsUrl } = telemetry;
  return {
    parts,
    addresses: { nats: nats.servers, ...(metricsUrl === undefined ? {} : { metrics: metricsUrl }) },
  };
}

function missing(name: string, accepted: string): OarlockError {
  return new OarlockError(
    "SETTING_MISSING",
    `environment variable ${name} is not set; accepted: ${accepted}`,
  );
}

function startLine(
  { run, uid, bus, device }: ServiceProcess,
  addresses: OtherAddresses & { readonly address: string },
): Record<string, unknown> {
  return {
    version: run.inputs.engine.oarlock,
    run: run.name,
    uid,
    planDigest: run.digest,
    ...device,
    bus: bus.driver,
    ...addresses,
  };
}
