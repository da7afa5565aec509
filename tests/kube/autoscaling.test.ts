/**
 * Autoscalers on a RolePool: KEDA's formula for the lag of a JetStream consumer gives the trajectories that reward workers have
 * not answered, by a real server's `/jsz`; and the real HPA controller scales the pool by that number, up and down again.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Bus,
  connectJetStreamBus,
  type NatsServer,
  startNatsServer,
  type Stream,
  subjects,
} from "@oarlock/bus";
import { topologyOf } from "@oarlock/run";
import {
  type ControlPlane,
  eventually,
  findKube,
  freePort,
  repositoryRoot,
  requireNatsServer,
  startControlPlane,
  suiteFolder,
} from "@oarlock/testkit";
import { parse } from "yaml";
import { additionPlan } from "../integration/addition-plan.ts";
import { type ExternalMetrics, serveExternalMetrics } from "./external-metrics.ts";

const kube = findKube(["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"]);
const nats = requireNatsServer();
const UID = "0f1e2d3c";
const WAITING = 10;
const IN_HAND = 4;

interface Trigger {
  readonly metadata: { readonly account: string; readonly stream: string; readonly consumer: string };
}

/** What KEDA's scaler reads of `/jsz`. */
interface Jsz {
  readonly account_details?: readonly {
    readonly name: string;
    readonly stream_detail?: readonly {
      readonly name: string;
      readonly consumer_detail?: readonly {
        readonly name: string;
        readonly num_pending: number;
        readonly num_ack_pending: number;
      }[];
    }[];
  }[];
}

/** The sample's trigger, for a run of this uid. */
function trigger(): Trigger["metadata"] {
  const file = join(repositoryRoot(), "deploy/k8s/samples/scaling/keda.yaml");
  const { spec } = parse(readFileSync(file, "utf8")) as { spec: { triggers: readonly Trigger[] } };
  const { metadata } = spec.triggers[0]!;
  return { ...metadata, stream: metadata.stream.replace("UID", UID) };
}

describe.skipIf(nats.absent)(`autoscaling${nats.note}`, () => {
  const folder = suiteFolder("autoscaling");
  let server: NatsServer;
  let monitor: number;
  let bus: Bus;
  let stream: Stream;
  const generated = subjects(UID).trajectoryGenerated;

  /** As KEDA computes it: pending and in hand, of the named consumer of the named stream. */
  const lag = async (): Promise<number> => {
    const { account, stream: name, consumer } = trigger();
    const url = `http://127.0.0.1:${monitor}/jsz?acc=${encodeURIComponent(account)}&consumers=true&config=true`;
    const jsz = (await (await fetch(url)).json()) as Jsz;
    const streams = jsz.account_details?.flatMap(({ stream_detail: details = [] }) => details) ?? [];
    const found = streams
      .find((detail) => detail.name === name)
      ?.consumer_detail?.find((detail) => detail.name === consumer);
    if (found === undefined) throw new Error(`no ${consumer} of ${name} in ${JSON.stringify(jsz)}`);
    return found.num_pending + found.num_ack_pending;
  };
  const publish = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++) await stream.publish(generated, new Uint8Array(8));
  };
  const read = async (count: number, answer: boolean): Promise<void> => {
    const topology = topologyOf(additionPlan(), subjects(UID));
    const consumer = await stream.consumer(topology.consumers.rewardWorkers);
    const stop = new AbortController();
    let got = 0;
    for await (const message of consumer.messages({ signal: stop.signal })) {
      if (answer) await message.ack();
      if (++got === count) break;
    }
    stop.abort();
  };

  beforeAll(async () => {
    monitor = await freePort();
    const configuration = `http: "127.0.0.1:${monitor}"`;
    server = await startNatsServer({ path: nats.path, folder: join(folder, "nats"), configuration });
    bus = await connectJetStreamBus({ servers: server.url });
    const { streams, consumers } = topologyOf(additionPlan(), subjects(UID));
    stream = await bus.stream(streams.trajectories);
    await stream.consumer(consumers.rewardWorkers);
  }, 60_000);
  afterAll(async () => {
    await bus?.close();
    await server?.stop();
  });

  it("KEDA's formula counts what waits and what is in hand, and not what was answered", async () => {
    await publish(WAITING);
    expect(await lag()).toBe(WAITING);
    await read(IN_HAND, false);
    expect(await lag()).toBe(WAITING);
    await read(IN_HAND, true);
    await eventually("the answers to count", async () =>
      (await lag()) === WAITING - IN_HAND ? true : undefined,
    );
  }, 60_000);

  describe.skipIf(kube.absent)(`by the real HPA controller${kube.note}`, () => {
    let plane: ControlPlane;
    let metrics: ExternalMetrics;

    beforeAll(async () => {
      plane = await startControlPlane({ controllers: true });
      await plane.kubectl(["apply", "-k", join(repositoryRoot(), "deploy/k8s/crds")]);
      await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
      metrics = await serveExternalMetrics(plane, "reward_lag", lag);
    }, 120_000);
    afterAll(async () => {
      metrics?.close();
      await plane?.[Symbol.asyncDispose]();
    });

    it("a RolePool grows with the lag and shrinks with it", async () => {
      const input = JSON.stringify({ apiVersion: "v1", kind: "List", items: [pool, autoscaler] });
      expect(await plane.kubectl(["apply", "-f", "-"], { input })).toMatchObject({ code: 0 });
      const status = JSON.stringify({ status: { replicas: 1, selector: "oarlock.dev/run=demo" } });
      await plane.kubectl([
        "patch",
        "rpool",
        "demo-reward",
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
      ]);
      const becomes = (replicas: number) =>
        eventually(
          `${replicas} replicas`,
          async () => {
            const { spec } = await plane.get<{ spec: { replicas: number } }>(["rpool", "demo-reward"]);
            return spec.replicas === replicas ? true : undefined;
          },
          { timeoutMs: 120_000, everyMs: 500 },
        );
      await becomes(Math.ceil((await lag()) / TARGET));
      await publish(TARGET);
      await becomes(Math.ceil((await lag()) / TARGET));
      await stream.purge();
      await becomes(1);
      expect(metrics.asked()).toBeGreaterThan(2);
    }, 240_000);
  });
});

/** Trajectories for one reward worker. */
const TARGET = 2;

const pool = {
  apiVersion: "oarlock.dev/v1alpha1",
  kind: "RolePool",
  metadata: { name: "demo-reward", namespace: "default" },
  spec: { runName: "demo", role: "reward", replicas: 1 },
};

const autoscaler = {
  apiVersion: "autoscaling/v2",
  kind: "HorizontalPodAutoscaler",
  metadata: { name: "demo-reward", namespace: "default" },
  spec: {
    scaleTargetRef: { apiVersion: "oarlock.dev/v1alpha1", kind: "RolePool", name: "demo-reward" },
    minReplicas: 1,
    maxReplicas: 8,
    metrics: [
      {
        type: "External",
        external: {
          metric: { name: "reward_lag" },
          target: { type: "AverageValue", averageValue: String(TARGET) },
        },
      },
    ],
    behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
  },
};
