/** What a controller says of itself: controller-runtime's and client-go's names, types, labels and buckets. */
import { describe, expect, it } from "vitest";
import { createManualClock, type ManualClock } from "@oarlock/runtime";
import { type Controller, createController } from "./controller.ts";
import { CONTROLLER_INSTRUMENTS } from "./metrics.ts";

/** As controller-runtime 0.25 registers them, with the labels that it fills. */
const REAL: readonly (readonly [name: string, kind: string, labels: string, firstAndLastBound?: string])[] = [
  ["controller_runtime_reconcile_total", "counter", "controller,result"],
  ["controller_runtime_reconcile_errors_total", "counter", "controller"],
  ["controller_runtime_reconcile_timeouts_total", "counter", "controller"],
  ["controller_runtime_reconcile_time_seconds", "histogram", "controller", "0.005 60"],
  ["controller_runtime_max_concurrent_reconciles", "gauge", "controller"],
  ["controller_runtime_active_workers", "gauge", "controller"],
  ["workqueue_depth", "gauge", "name,controller"],
  ["workqueue_adds_total", "counter", "name,controller"],
  ["workqueue_queue_duration_seconds", "histogram", "name,controller", "1e-08 1000"],
  ["workqueue_work_duration_seconds", "histogram", "name,controller", "1e-08 1000"],
  ["workqueue_unfinished_work_seconds", "gauge", "name,controller"],
  ["workqueue_longest_running_processor_seconds", "gauge", "name,controller"],
  ["workqueue_retries_total", "counter", "name,controller"],
  ["rest_client_requests_total", "counter", "code,method,host"],
  ["leader_election_master_status", "gauge", "name"],
];

/** A controller whose keys take as long as they say: "2s" two seconds, "fails" none and fails, "hangs" for ever. */
function working(clock: ManualClock): Controller {
  return createController({
    name: "runs",
    clock,
    workers: 2,
    timeoutMs: 60_000,
    async reconcile(key) {
      if (key === "fails") throw new Error("it does");
      if (key === "again") return { requeueAfterMs: 3_600_000 };
      const ms = key === "hangs" ? 120_000 : Number.parseInt(key, 10) * 1_000;
      await new Promise((done) => clock.after(ms, () => done(true)));
      return {};
    },
  });
}

const pageOf = ({ metrics }: Controller): string => metrics.render({ lease: "oarlock", held: true });

/** `name{labels}` → value. */
function samplesOf(page: string): ReadonlyMap<string, number> {
  const lines = page.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
}

describe("a controller's metrics", () => {
  it("have controller-runtime's names, types, labels and buckets", () => {
    const { metrics } = working(createManualClock());
    metrics.requested({ method: "GET", code: "200", host: "10.0.0.1:443" });
    const page = metrics.render({ lease: "oarlock", held: false });
    const shown = REAL.map(([name]) => {
      const type = new RegExp(`^# TYPE ${name} (\\w+)$`, "m").exec(page)?.[1] ?? "absent";
      const series = [...page.matchAll(new RegExp(`^${name}(?:_bucket)?\\{(.*)\\} \\S+$`, "gm"))];
      const labels = [...(series[0]?.[1] ?? "").matchAll(/(\w+)="/g)].map(([, label]) => label);
      const bounds = series.flatMap(([, text = ""]) => /le="([^"]*)"/.exec(text)?.[1] ?? []);
      const ends = bounds.length === 0 ? [] : [`${bounds[0]} ${bounds.at(-2)}`];
      return [name, type, labels.filter((label) => label !== "le").join(","), ...ends];
    });
    expect(shown).toEqual(REAL);
    expect([...page.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name)).toEqual(REAL.map(([name]) => name));
  });

  it("are written down, with a meaning, in the one table", () => {
    expect(Object.values(CONTROLLER_INSTRUMENTS).map(({ name }) => name)).toEqual(REAL.map(([name]) => name));
    const page = pageOf(working(createManualClock()));
    for (const { name, description } of Object.values(CONTROLLER_INSTRUMENTS))
      expect(page).toContain(`# HELP ${name} ${description}\n`);
  });

  it("say the bounds of buckets as Go does, so that panels by `le` fit", () => {
    const page = pageOf(working(createManualClock()));
    const bounds = [...page.matchAll(/^workqueue_work_duration_seconds_bucket.*le="([^"]*)"/gm)];
    const said =
      "1e-08 1e-07 1e-06 9.999999999999999e-06 9.999999999999999e-05 0.001 0.01 0.1 1 10 100 1000 +Inf";
    expect(bounds.map(([, bound]) => bound).join(" ")).toBe(said);
  });

  it("count what is done, what waits, and what is in hand", async () => {
    const clock = createManualClock();
    const controller = working(clock);
    const stop = new AbortController();
    const running = controller.run(stop.signal);
    for (const key of ["5s", "2s", "1s", "1s"]) controller.enqueue(key);
    await clock.advance(1_000);
    // Two hands: 1s waits. It was asked for twice and comes once.
    const early = samplesOf(pageOf(controller));
    const queue = '{name="runs",controller="runs"}';
    const at = (name: string, labels = '{controller="runs"}') => early.get(`${name}${labels}`);
    expect({
      active: at("controller_runtime_active_workers"),
      most: at("controller_runtime_max_concurrent_reconciles"),
      depth: at("workqueue_depth", queue),
      adds: at("workqueue_adds_total", queue),
      unfinished: at("workqueue_unfinished_work_seconds", queue),
      longest: at("workqueue_longest_running_processor_seconds", queue),
      worked: at("workqueue_work_duration_seconds_count", queue),
    }).toEqual({ active: 2, most: 2, depth: 1, adds: 3, unfinished: 2, longest: 1, worked: 0 });
    await clock.advance(1_000);
    await clock.advance(3_000);
    const late = samplesOf(pageOf(controller));
    expect({
      active: late.get('controller_runtime_active_workers{controller="runs"}'),
      done: late.get('controller_runtime_reconcile_total{controller="runs",result="success"}'),
      // 5 + 2 + 1 s of work, of which one key took more than 2.5 s; the third waited 2 s for a hand.
      worked: late.get(`workqueue_work_duration_seconds_sum${queue}`),
      seconds: late.get('controller_runtime_reconcile_time_seconds_sum{controller="runs"}'),
      within: late.get('controller_runtime_reconcile_time_seconds_bucket{controller="runs",le="2.5"}'),
      waited: late.get(`workqueue_queue_duration_seconds_sum${queue}`),
      taken: late.get(`workqueue_queue_duration_seconds_count${queue}`),
      unfinished: late.get(`workqueue_unfinished_work_seconds${queue}`),
    }).toEqual({ active: 0, done: 3, worked: 8, seconds: 8, within: 2, waited: 2, taken: 3, unfinished: 0 });
    stop.abort();
    await running;
  });

  it("tell errors, time outs and returns apart", async () => {
    const clock = createManualClock();
    const controller = working(clock);
    const stop = new AbortController();
    const running = controller.run(stop.signal);
    for (const key of ["fails", "again", "hangs"]) controller.enqueue(key);
    await clock.advance(0);
    const failed = samplesOf(pageOf(controller)).get(
      'controller_runtime_reconcile_errors_total{controller="runs"}',
    );
    expect(failed).toBe(1);
    await clock.advance(60_000);
    const page = samplesOf(pageOf(controller));
    const results = (result: string) =>
      page.get(`controller_runtime_reconcile_total{controller="runs",result="${result}"}`) ?? Number.NaN;
    expect(page.get('controller_runtime_reconcile_timeouts_total{controller="runs"}')).toBe(1);
    expect(results("requeue_after")).toBe(1);
    // Every error and every asked-for return is put back with a pause.
    expect(page.get('controller_runtime_reconcile_errors_total{controller="runs"}')).toBe(results("error"));
    expect(page.get('workqueue_retries_total{name="runs",controller="runs"}')).toBe(results("error") + 1);
    stop.abort();
    await running;
  });

  it("count requests by answer, and whether the lease is held", () => {
    const { metrics } = working(createManualClock());
    const host = "10.0.0.1:443";
    metrics.requested({ method: "GET", code: "200", host });
    metrics.requested({ method: "GET", code: "200", host });
    metrics.requested({ method: "PATCH", code: "<error>", host });
    expect([...metrics.requests]).toEqual([
      ["GET", 2],
      ["PATCH", 1],
    ]);
    const page = metrics.render({ lease: "oarlock-controller", held: true });
    expect(page).toContain(`rest_client_requests_total{code="200",method="GET",host="${host}"} 2\n`);
    expect(page).toContain(`rest_client_requests_total{code="<error>",method="PATCH",host="${host}"} 1\n`);
    expect(page).toContain('leader_election_master_status{name="oarlock-controller"} 1\n');
    expect(metrics.render({ lease: "oarlock-controller", held: false })).toContain(
      'leader_election_master_status{name="oarlock-controller"} 0\n',
    );
  });
});
