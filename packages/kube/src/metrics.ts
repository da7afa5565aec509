/** A controller's numbers under the names that controller-runtime made known, as Prometheus text. */
import type { WorkQueueCounts } from "./work-queue.ts";

const RESULTS = ["success", "requeue_after", "error"] as const;
export type ReconcileResult = (typeof RESULTS)[number];

/** Upper bounds in seconds, as controller-runtime has them, thinned. */
const BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

export class ControllerMetrics {
  readonly #name: string;
  readonly #queue: () => WorkQueueCounts;
  readonly #results = new Map<ReconcileResult, number>(RESULTS.map((result) => [result, 0]));
  readonly #buckets: number[] = BUCKETS_S.map(() => 0);
  #seconds = 0;
  #requests = new Map<string, number>();

  constructor(name: string, queue: () => WorkQueueCounts) {
    this.#name = name;
    this.#queue = queue;
  }

  reconciled(result: ReconcileResult, seconds: number): void {
    this.#results.set(result, this.count(result) + 1);
    this.#seconds += seconds;
    for (const [at, bound] of BUCKETS_S.entries())
      if (seconds <= bound) this.#buckets[at] = (this.#buckets[at] ?? 0) + 1;
  }

  requested(method: string): void {
    this.#requests.set(method, (this.#requests.get(method) ?? 0) + 1);
  }

  count(result: ReconcileResult): number {
    return this.#results.get(result) ?? 0;
  }

  /** Requests so far, by method. */
  get requests(): ReadonlyMap<string, number> {
    return this.#requests;
  }

  /** The text that Prometheus scrapes. */
  render(isLeader: boolean): string {
    const { depth, adds, retries } = this.#queue();
    const controller = `controller="${this.#name}"`;
    const name = `name="${this.#name}"`;
    const total = [...this.#results.values()].reduce((sum, count) => sum + count, 0);
    const time = "controller_runtime_reconcile_time_seconds";
    const lines = [
      "# TYPE controller_runtime_reconcile_total counter",
      ...RESULTS.map(
        (result) =>
          `controller_runtime_reconcile_total{${controller},result="${result}"} ${this.count(result)}`,
      ),
      `# TYPE ${time} histogram`,
      ...BUCKETS_S.map(
        (bound, at) => `${time}_bucket{${controller},le="${bound}"} ${this.#buckets[at] ?? 0}`,
      ),
      `${time}_bucket{${controller},le="+Inf"} ${total}`,
      `${time}_sum{${controller}} ${this.#seconds}`,
      `${time}_count{${controller}} ${total}`,
      "# TYPE workqueue_depth gauge",
      `workqueue_depth{${name}} ${depth}`,
      "# TYPE workqueue_adds_total counter",
      `workqueue_adds_total{${name}} ${adds}`,
      "# TYPE workqueue_retries_total counter",
      `workqueue_retries_total{${name}} ${retries}`,
      "# TYPE leader_election_master_status gauge",
      `leader_election_master_status{${name}} ${isLeader ? 1 : 0}`,
      "# TYPE rest_client_requests_total counter",
      ...[...this.#requests].map(
        ([method, count]) => `rest_client_requests_total{method="${method}"} ${count}`,
      ),
    ];
    return `${lines.join("\n")}\n`;
  }
}
