/**
 * Traces of whole runs, read back from a real Jaeger: one per group and one per step, with every span in its place, linked
 * both ways; and that a run does not care whether anybody listens (D1).
 */
import { execFileSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { LearnerService } from "@oarlock/proto";
import type { MetricsRecord, SampleRecord } from "@oarlock/report";
import { openChannel } from "@oarlock/rpc";
import { silentLog, traced } from "@oarlock/runtime";
import { openTelemetry } from "@oarlock/telemetry";
import { requirePromtool, requireTool, startJaeger } from "@oarlock/testkit";
import type { Jaeger, JaegerSpan } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newFolder, ONLY_FLUSHED, run } from "./traced-run.ts";
import type { Ran } from "./traced-run.ts";

const jaegerBinary = requireTool("jaeger");
const promtool = requirePromtool();

/** Name of each span with its parent's name, sorted: the shape of a trace. */
function shape(spans: readonly JaegerSpan[]): string[] {
  const names = new Map(spans.map(({ spanId, name }) => [spanId, name]));
  return spans.map(({ name, parentSpanId }) => `${names.get(parentSpanId) ?? "-"} > ${name}`).toSorted();
}

const named = (spans: readonly JaegerSpan[], name: string): JaegerSpan => {
  const found = spans.find((span) => span.name === name);
  if (found === undefined)
    throw new Error(`no span ${name} among ${spans.map((span) => span.name).join(", ")}`);
  return found;
};

const WORK = "oarlock.{run}.work.rollout";
const GENERATED = "oarlock.{run}.trajectory.generated";
const SCORED = "oarlock.{run}.trajectory.scored";
const [PRODUCER, CONSUMER] = [4, 5];

describe.skipIf(jaegerBinary.absent)(`traces of a run in Jaeger${jaegerBinary.note}`, () => {
  let jaeger: Jaeger;
  let ran: Ran;
  let exposition = "";
  /** The trace of the first group of the third GRPO step, with a load of policy or without. */
  let sample: SampleRecord;

  beforeAll(async () => {
    jaeger = await startJaeger(jaegerBinary.path, await newFolder());
    ran = await run({
      environment: {
        OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl,
        OTEL_RESOURCE_ATTRIBUTES: "k8s.pod.name=test-pod",
        OARLOCK_METRICS_PORT: "0",
        ...ONLY_FLUSHED,
      },
      onStep: async ({ addresses }) =>
        void (exposition = await (await fetch(addresses.metrics ?? "")).text()),
    });
    const found = ran.samples.find(
      ({ kind, step, stage }) => kind === "rollout" && stage === "grpo" && step === 3,
    );
    if (found === undefined) throw new Error("the run wrote no sample of step 3");
    sample = found;
  });
  afterAll(async () => jaeger?.stop());

  const groupTrace = (): Promise<readonly JaegerSpan[]> =>
    jaeger.wholeTrace(sample.traceId ?? "", (spans) => spans.some(({ name }) => name === "rollout group"));
  const stepRecord = (step: number): MetricsRecord => {
    const record = ran.records.find((r) => r.kind === "step" && r.stage === "grpo" && r.step === step);
    if (record === undefined) throw new Error(`no record of step ${step}`);
    return record;
  };
  const stepTrace = (step: number): Promise<readonly JaegerSpan[]> =>
    jaeger.wholeTrace(stepRecord(step).traceId ?? "", (spans) =>
      spans.some(({ name }) => name === "train step"),
    );

  test("a sample leads to the trace of its group: every span, each under the right parent", async () => {
    const spans = await groupTrace();
    const without = (name: string): boolean => !name.endsWith("> load policy");
    expect(shape(spans).filter(without)).toEqual(
      [
        "- > rollout group",
        `rollout group > send ${WORK}`,
        `rollout group > queue ${WORK}`,
        `rollout group > process ${WORK}`,
        `process ${WORK} > text_completion addition`,
        "text_completion addition > wait for a slot",
        "text_completion addition > prefill",
        "text_completion addition > decode",
        `process ${WORK} > send ${GENERATED}`,
        `rollout group > queue ${GENERATED}`,
        `rollout group > process ${GENERATED}`,
        `process ${GENERATED} > score answer`,
        `process ${GENERATED} > score short`,
        `process ${GENERATED} > send ${SCORED}`,
        `rollout group > queue ${SCORED}`,
        "rollout group > admit",
      ].toSorted(),
    );
    expect(new Set(spans.map(({ status }) => status))).toEqual(new Set([0]));
    const services = Object.fromEntries(spans.map(({ name, resource }) => [name, resource["service.name"]]));
    expect(services).toMatchObject({
      "rollout group": "oarlock-learner",
      prefill: "oarlock-actor",
      "score answer": "oarlock-reward",
      admit: "oarlock-learner",
    });
  });

  test("its spans say what they are by rl.*, messaging.* and gen_ai.*, and are in order", async () => {
    const spans = await groupTrace();
    const root = named(spans, "rollout group");
    const group = {
      "rl.run.uid": ran.uid,
      "rl.stage": 1,
      "rl.train.step": 3,
      "rl.purpose": "rollout",
      // Lag 1: the third step is generated by the policy after the first.
      "rl.policy.version": 7,
      "rl.prompt.id": String(sample.promptIndex),
    };
    expect(root.attributes).toMatchObject({ ...group, "rl.policy.staleness": 1, "rl.outcome": "trained" });
    expect(root.attributes["rl.reward"]).toBeTypeOf("number");
    expect(root.resource).toMatchObject({
      "service.instance.id": "learner",
      "service.namespace": "oarlock",
      "oarlock.run.id": ran.uid,
      "oarlock.run.name": "addition",
      "k8s.pod.name": "test-pod",
    });
    // Nothing of the machine, its user or the command line, which may hold secrets.
    expect(Object.keys(root.resource).filter((key) => /^(process|host|os)\./.test(key))).toEqual([]);
    const processing = named(spans, `process ${WORK}`);
    expect(processing).toMatchObject({ kind: CONSUMER, attributes: group });
    expect(processing.attributes).toMatchObject({
      "messaging.system": "oarlock_memory",
      "messaging.operation.type": "process",
      "messaging.destination.template": WORK,
      "messaging.destination.name": `oarlock.${ran.uid}.work.rollout`,
      "messaging.nats.redelivery_count": 0,
    });
    const sending = named(spans, `send ${WORK}`);
    expect(sending.kind).toBe(PRODUCER);
    expect(processing.links).toMatchObject([{ traceId: root.traceId, spanId: sending.spanId }]);
    const generation = named(spans, "text_completion addition");
    expect(generation.attributes).toMatchObject({
      "gen_ai.operation.name": "text_completion",
      "gen_ai.request.model": "addition",
      "gen_ai.request.choice.count": 4,
      "gen_ai.request.max_tokens": 4,
      "gen_ai.request.seed": 7,
    });
    expect(generation.attributes["gen_ai.response.finish_reasons"]).toHaveLength(4);
    const score = named(spans, "score answer").attributes;
    expect(score).toMatchObject({
      "gen_ai.evaluation.name": "answer",
      "rl.sample.count": 4,
      "rl.scorer.failures": 0,
    });
    expect(score["gen_ai.evaluation.score.value"]).toBeTypeOf("number");
    expect(named(spans, "admit").attributes).toMatchObject({
      "rl.admission": "admitted",
      "rl.sample.count": 4,
    });
    // Clocks of a process start a span by the millisecond and measure it by the microsecond.
    const order = [
      sending,
      processing,
      named(spans, "prefill"),
      named(spans, "decode"),
      named(spans, "score answer"),
    ];
    const starts = [...order, named(spans, "admit")].map(({ startMs }) => startMs);
    for (const [i, startMs] of starts.entries())
      expect(startMs).toBeGreaterThanOrEqual((starts[i - 1] ?? 0) - 2);
    expect(root.endMs).toBeGreaterThanOrEqual(named(spans, "admit").endMs - 2);
  });

  test("a step's trace links every group that it used, and each of them links back", async () => {
    const spans = await stepTrace(3);
    const root = named(spans, "train step");
    expect(root.attributes).toMatchObject({
      "rl.run.uid": ran.uid,
      "rl.stage.name": "grpo",
      "rl.train.step": 3,
      "rl.policy.version": 9,
    });
    expect(root.attributes["rl.policy.digest"]).toBe(stepRecord(3).policyDigest);
    expect(root.attributes["rl.reward"]).toBeCloseTo(
      stepRecord(3).metrics["critic/score/mean"] ?? Number.NaN,
      12,
    );
    expect(root.links.map(({ attributes }) => attributes["rl.group.id"])).toEqual([0, 1, 2, 3]);
    for (const link of root.links) {
      expect(link.attributes).toMatchObject({ "rl.link": "uses", "rl.policy.staleness": 1 });
      const group = named(await jaeger.wholeTrace(link.traceId, (all) => all.length > 10), "rollout group");
      expect(group).toMatchObject({ spanId: link.spanId, parentSpanId: "" });
      expect(group.attributes["rl.reward"]).toBe(link.attributes["rl.reward"]);
      expect(group.links).toMatchObject([
        {
          traceId: root.traceId,
          spanId: root.spanId,
          attributes: { "rl.link": "used by", "rl.train.step": 3, "rl.stage.name": "grpo" },
        },
      ]);
    }
    expect(root.links.map(({ traceId }) => traceId)).toContain(sample.traceId);
  });

  test("a step's trace holds its parts: collect, advantages, gradient, optimizer, publication, checkpoint", async () => {
    const spans = await stepTrace(4);
    // Every second step writes a checkpoint.
    expect(shape(spans)).toEqual(
      [
        "- > train step",
        "train step > collect",
        "train step > reference logprobs",
        "train step > advantages",
        "train step > update",
        "update > grad",
        "update > apply",
        "train step > snapshot",
        "train step > publish policy",
        "train step > checkpoint",
      ].toSorted(),
    );
    expect(named(spans, "publish policy").attributes["rl.policy.digest"]).toBe(stepRecord(4).policyDigest);
    expect(named(spans, "checkpoint").attributes).toMatchObject({ "rl.checkpoint.step": 10 });
    expect(named(spans, "update").attributes).toMatchObject({ "rl.applied": true });
  });

  test("an actor's load of a policy links to the publication of that version", async () => {
    // The first group of a step is the one that brings the actor its policy.
    const links = named(await stepTrace(3), "train step").links.map(({ traceId }) => traceId);
    const spans = (await Promise.all(links.map((id) => jaeger.trace(id)))).flatMap(
      (trace) => trace?.spans ?? [],
    );
    const load = named(spans, "load policy");
    const publisher = named(await stepTrace(1), "publish policy");
    expect(load.attributes).toMatchObject({
      "rl.policy.version": 7,
      "rl.policy.digest": stepRecord(1).policyDigest,
    });
    expect(load.links).toMatchObject([
      { traceId: publisher.traceId, spanId: publisher.spanId, attributes: { "rl.link": "published by" } },
    ]);
  });

  test("there is one trace per step and per group, no more", async () => {
    expect(await jaeger.traceIds("oarlock-learner", "train step")).toHaveLength(12);
    expect(await jaeger.traceIds("oarlock-learner", "rollout group")).toHaveLength(6 * 4);
    const evaluations = await jaeger.traceIds("oarlock-learner", "evaluation");
    expect(evaluations).toHaveLength(5);
    const recorded = ran.records
      .filter(({ kind }) => kind === "evaluation")
      .map(({ traceId }) => traceId ?? "");
    expect(evaluations.toSorted()).toEqual(recorded.toSorted());
    const spans = await jaeger.wholeTrace(recorded[0] ?? "", (all) => all.length > 0);
    const groups = await jaeger.traceIds("oarlock-learner", "evaluation group");
    const linked = named(spans, "evaluation").links.map(({ traceId }) => traceId);
    expect(linked.length).toBeGreaterThan(0);
    expect(groups).toEqual(expect.arrayContaining(linked));
  });

  test("D1: tracing on, off, sampled out, or into nowhere: the same weights after every step", async () => {
    const off = await run({ environment: {} });
    expect(ran.digests).toHaveLength(12);
    expect(off.digests).toEqual(ran.digests);
    expect(off.samples.filter(({ traceId }) => traceId !== undefined)).toEqual([]);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const nowhere = await run({ environment: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` } });
    expect(nowhere.digests).toEqual(ran.digests);
    const warnings = nowhere.events.filter(({ type }) => type === "warning");
    expect(warnings).toEqual([
      {
        type: "warning",
        message: `traces cannot be exported; the run goes on without (http://127.0.0.1:${port}/v1/traces)`,
      },
    ]);
    const before = (await jaeger.traceIds("oarlock-learner", "train step")).length;
    const unsampled = await run({
      environment: {
        OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl,
        OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG: "0",
      },
    });
    expect(unsampled.digests).toEqual(ran.digests);
    expect(unsampled.samples.filter(({ traceId }) => traceId !== undefined)).toEqual([]);
    expect(await jaeger.traceIds("oarlock-learner", "train step")).toHaveLength(before);
  });

  test("metrics are served while it runs, every name of which Prometheus accepts", () => {
    for (const name of [
      "oarlock_learner_step_duration_seconds_bucket",
      "oarlock_learner_groups_total",
      'oarlock_bus_messages_pending{consumer="',
      'oarlock_bus_oldest_age_seconds{stream="work"',
      "oarlock_actor_queue_wait_seconds_count",
      "oarlock_reward_scoring_duration_seconds_sum",
      "gen_ai_server_time_to_first_token_seconds_count",
      "nodejs_eventloop_delay_p99_seconds",
      'oarlock_training_metric{metric="train/loss"',
    ]) {
      expect(exposition).toContain(name);
    }
  });

  test.skipIf(promtool.absent)(`promtool finds nothing to say about them${promtool.note}`, () => {
    const said = execFileSync(promtool.path, ["check", "metrics"], { input: exposition, encoding: "utf8" });
    expect(said).toBe("");
  });

  test("a gRPC call is one trace: the caller's span, the client's, the server's", async () => {
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl };
    const telemetry = await openTelemetry({ environment, resource: {}, log: silentLog });
    const caller = telemetry.service({ role: "console", instance: "console" });
    let [traceId, ofStep] = ["", ""];
    await run({
      environment: { OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl },
      onStep: async ({ addresses }) => {
        const channel = openChannel(addresses.learner, { telemetry: caller });
        await traced(caller.tracer, { name: "ask", parent: "none" }, async ({ context }) => {
          traceId = context?.traceId ?? "";
          const { run: told } = await channel.client(LearnerService).getRunStatus({});
          ofStep = told?.traceId ?? "";
        });
        channel.close();
      },
    });
    await telemetry.end();
    // What it answers leads to the newest step.
    const step = await jaeger.wholeTrace(ofStep, (all) => all.some(({ name }) => name === "train step"));
    expect(step.map(({ name }) => name)).toContain("train step");
    const spans = await jaeger.wholeTrace(traceId, (all) => all.length === 3);
    const method = "oarlock.v1.LearnerService/GetRunStatus";
    expect(shape(spans)).toEqual([`- > ask`, `ask > ${method}`, `${method} > ${method}`]);
    const [client, server] = [spans.find(({ kind }) => kind === 3), spans.find(({ kind }) => kind === 2)];
    const attributes = { "rpc.system.name": "grpc", "rpc.method": method, "rpc.status_code": "OK" };
    expect(client).toMatchObject({ attributes, resource: { "service.name": "oarlock-console" } });
    expect(server).toMatchObject({ attributes, resource: { "service.name": "oarlock-learner" } });
    expect(server?.parentSpanId).toBe(client?.spanId);
  });

  test("more links than the SDK's 128 are kept, with their attributes", async () => {
    const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.otlpUrl };
    const telemetry = await openTelemetry({ environment, resource: {}, log: silentLog });
    const { tracer } = telemetry.service({ role: "learner", instance: "learner" });
    const step = tracer.startSpan({ name: "many links", parent: "none" });
    const groups = Array.from({ length: 1_000 }, (_, group) => {
      const span = tracer.startSpan({ name: "linked", parent: "none" });
      if (span.context !== undefined)
        step.link({ context: span.context, attributes: { "rl.group.id": group } });
      return span.context?.traceId;
    });
    step.end();
    await telemetry.end();
    const [span] = await jaeger.wholeTrace(step.context?.traceId ?? "", (all) => all.length === 1);
    expect(span?.links.map(({ traceId }) => traceId)).toEqual(groups);
    expect(span?.links.map(({ attributes }) => attributes["rl.group.id"])).toEqual(groups.map((_, i) => i));
  });
});
