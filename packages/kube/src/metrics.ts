/**
 * A controller's numbers under the names, labels and buckets of controller-runtime and client-go, so that dashboards and alerts
 * made for those fit. What cannot happen here is left out: terminal errors (every failure comes again), panics (every throw is
 * an error), webhooks.
 */
import type { Instrument } from "@oarlock/runtime";
import { exposition, type Labels, type Sample } from "./exposition.ts";
import { Histogram } from "./histogram.ts";
import type { WorkQueueCounts } from "./work-queue.ts";

const RESULTS = ["success", "requeue_after", "error"] as const;
export type ReconcileResult = (typeof RESULTS)[number];

/** Upper bounds in seconds, as controller-runtime has them. */
const RECONCILE_BOUNDS_S: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5,
  1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
];

const QUEUE = ["name", "controller"];

type Measured =
  | "reconciles"
  | "errors"
  | "timeouts"
  | "seconds"
  | "most"
  | "active"
  | "depth"
  | "adds"
  | "waited"
  | "worked"
  | "unfinished"
  | "longest"
  | "retries"
  | "requests"
  | "leads";

/** What a controller measures, in the order of its page. */
export const CONTROLLER_INSTRUMENTS: Readonly<Record<Measured, Instrument>> = {
  reconciles: {
    name: "controller_runtime_reconcile_total",
    kind: "counter",
    unit: "",
    description: "Reconciles by result: success, error, or requeue_after where it asked to come back",
    attributes: ["controller", "result"],
  },
  errors: {
    name: "controller_runtime_reconcile_errors_total",
    kind: "counter",
    unit: "",
    description: "Reconciles that failed and come again",
    attributes: ["controller"],
  },
  timeouts: {
    name: "controller_runtime_reconcile_timeouts_total",
    kind: "counter",
    unit: "",
    description: "Reconciles that were given up because they took too long; each is an error, too",
    attributes: ["controller"],
  },
  seconds: {
    name: "controller_runtime_reconcile_time_seconds",
    kind: "histogram",
    unit: "s",
    description: "Time of a reconcile",
    attributes: ["controller"],
    boundaries: RECONCILE_BOUNDS_S,
  },
  most: {
    name: "controller_runtime_max_concurrent_reconciles",
    kind: "gauge",
    unit: "",
    description: "Reconciles that may go on at a time",
    attributes: ["controller"],
  },
  active: {
    name: "controller_runtime_active_workers",
    kind: "gauge",
    unit: "",
    description: "Reconciles that go on now",
    attributes: ["controller"],
  },
  depth: {
    name: "workqueue_depth",
    kind: "gauge",
    unit: "",
    description: "Keys that wait in the queue",
    attributes: QUEUE,
  },
  adds: {
    name: "workqueue_adds_total",
    kind: "counter",
    unit: "",
    description: "Keys put into the queue; one that waits in it already is not counted again",
    attributes: QUEUE,
  },
  waited: {
    name: "workqueue_queue_duration_seconds",
    kind: "histogram",
    unit: "s",
    description: "Time that a key waits in the queue",
    attributes: QUEUE,
  },
  worked: {
    name: "workqueue_work_duration_seconds",
    kind: "histogram",
    unit: "s",
    description: "Time that a key is in hand",
    attributes: QUEUE,
  },
  unfinished: {
    name: "workqueue_unfinished_work_seconds",
    kind: "gauge",
    unit: "s",
    description:
      "Time that the keys in hand have been there, added up: one that grows without end shows a hand that hangs",
    attributes: QUEUE,
  },
  longest: {
    name: "workqueue_longest_running_processor_seconds",
    kind: "gauge",
    unit: "s",
    description: "Time that the oldest key in hand has been there",
    attributes: QUEUE,
  },
  retries: {
    name: "workqueue_retries_total",
    kind: "counter",
    unit: "",
    description: "Keys put back to come later: after a failure, or because a reconcile asked for it",
    attributes: QUEUE,
  },
  requests: {
    name: "rest_client_requests_total",
    kind: "counter",
    unit: "",
    description: "Requests to the API server by status; `<error>` is one that got no answer",
    attributes: ["code", "method", "host"],
  },
  leads: {
    name: "leader_election_master_status",
    kind: "gauge",
    unit: "",
    description: "1 while this process holds the lease of that name, else 0",
    attributes: ["name"],
  },
};

/** A request to the API server, once it is over. */
export interface RequestMade {
  readonly method: string;
  /** HTTP status, or `<error>` where there was no answer. */
  readonly code: string;
  readonly host: string;
}

export interface ControllerMetricsParts {
  readonly name: string;
  readonly workers: number;
  readonly queue: () => WorkQueueCounts;
}

export class ControllerMetrics {
  readonly #parts: ControllerMetricsParts;
  readonly #results = new Map<ReconcileResult, number>(RESULTS.map((result) => [result, 0]));
  readonly #seconds = new Histogram(RECONCILE_BOUNDS_S);
  readonly #requests = new Map<string, { readonly made: RequestMade; count: number }>();
  #timeouts = 0;
  #active = 0;

  constructor(parts: ControllerMetricsParts) {
    this.#parts = parts;
  }

  /** A reconcile begins; `reconciled` follows. */
  begun(): void {
    this.#active++;
  }

  reconciled(result: ReconcileResult, seconds: number): void {
    this.#active--;
    this.#results.set(result, this.count(result) + 1);
    this.#seconds.observe(seconds);
  }

  timedOut(): void {
    this.#timeouts++;
  }

  requested(made: RequestMade): void {
    const key = JSON.stringify([made.code, made.method, made.host]);
    const known = this.#requests.get(key);
    if (known === undefined) this.#requests.set(key, { made, count: 1 });
    else known.count++;
  }

  count(result: ReconcileResult): number {
    return this.#results.get(result) ?? 0;
  }

  /** Requests so far, by method. */
  get requests(): ReadonlyMap<string, number> {
    const byMethod = new Map<string, number>();
    for (const { made, count } of this.#requests.values())
      byMethod.set(made.method, (byMethod.get(made.method) ?? 0) + count);
    return byMethod;
  }

  /** The text that Prometheus scrapes. */
  render({ lease, held }: { readonly lease: string; readonly held: boolean }): string {
    const { name, workers, queue } = this.#parts;
    const counts = queue();
    const controller: Labels = { controller: name };
    const queued: Labels = { name, controller: name };
    const series: Readonly<Record<Measured, readonly Sample[]>> = {
      reconciles: RESULTS.map((result) => [{ ...controller, result }, this.count(result)]),
      errors: [[controller, this.count("error")]],
      timeouts: [[controller, this.#timeouts]],
      seconds: [[controller, this.#seconds]],
      most: [[controller, workers]],
      active: [[controller, this.#active]],
      depth: [[queued, counts.depth]],
      adds: [[queued, counts.adds]],
      waited: [[queued, counts.waited]],
      worked: [[queued, counts.worked]],
      unfinished: [[queued, counts.unfinishedSeconds]],
      longest: [[queued, counts.longestSeconds]],
      retries: [[queued, counts.retries]],
      requests: [...this.#requests.values()].map(({ made: { code, method, host }, count }) => [
        { code, method, host },
        count,
      ]),
      leads: [[{ name: lease }, held ? 1 : 0]],
    };
    const instruments: readonly (readonly [string, Instrument])[] = Object.entries(CONTROLLER_INSTRUMENTS);
    return instruments.map(([key, instrument]) => exposition(instrument, series[key as Measured])).join("");
  }
}
