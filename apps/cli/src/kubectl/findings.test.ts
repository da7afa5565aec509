/** What `doctor` says of message servers and devices, from what is known of them: tables. */
import { describe, expect, it } from "vitest";
import type { JetStreamAccount } from "@oarlock/bus";
import type { Node } from "@oarlock/kube";
import type { TrainingRun } from "./cluster.ts";
import type { Finding } from "./finding.ts";
import { type DeviceFacts, deviceFindings, type RolePool } from "./finding-devices.ts";
import { natsFindings } from "./finding-nats.ts";
import { type Backing, type NatsFacts, serviceOf } from "./nats-facts.ts";

const GIB = 2 ** 30;
const URL = "nats://nats.team.svc:4222";
const service = { namespace: "team", name: "nats" };
const backed: Backing = { type: "service", service, ready: 1, selector: "app=nats", ports: undefined };
const account: JetStreamAccount = {
  serverVersion: "2.12.1",
  streams: 3,
  storedBytes: GIB,
  reservedBytes: 2 * GIB,
};

const nats = (facts: Partial<NatsFacts>): readonly Finding[] =>
  natsFindings({
    namespace: "team",
    servers: [],
    own: [],
    secret: [],
    without: [],
    asked: undefined,
    ...facts,
  });
const behind = (backing: Backing, url = URL): Partial<NatsFacts> => ({
  servers: [{ url, by: ["the controller", "run sums"], backing }],
});
const answers = (more: Partial<JetStreamAccount>): Partial<NatsFacts> => ({
  asked: { type: "answer", url: URL, account: { ...account, ...more } },
});
const refuses = (code: string): Partial<NatsFacts> => ({
  asked: { type: "refusal", url: URL, code, message: `[${code}] no` },
});

type Row = readonly [
  what: string,
  facts: Partial<NatsFacts>,
  state: Finding["state"],
  says: string,
  fix: string,
];

describe("doctor of message servers", () => {
  it.each<Row>([
    [
      "a Service with a ready pod",
      behind(backed),
      "ok",
      `${URL} (the controller, run sums): 1 ready behind`,
      "",
    ],
    [
      "none that is ready",
      behind({ ...backed, ready: 0 }),
      "failed",
      "nothing behind Service team/nats is ready",
      "kubectl -n team describe pods -l app=nats",
    ],
    [
      "no pods of its own",
      behind({ ...backed, ready: 0, selector: "" }),
      "failed",
      "nothing behind",
      "get endpointslices",
    ],
    [
      "another port",
      behind({ ...backed, ports: [4223] }),
      "failed",
      "has no port 4222, but 4223",
      "correct the port",
    ],
    ["a port that is named", behind({ ...backed, ports: [4223] }, "nats://nats:4223"), "ok", "1 ready", ""],
    [
      "no Service",
      behind({ type: "absent", service }),
      "failed",
      "there is no Service nats in team",
      "deploy/k8s/components/nats",
    ],
    [
      "a Service that may not be seen",
      behind({ type: "hidden", service }),
      "unknown",
      "you may not look",
      "somebody",
    ],
    ["a server elsewhere", behind({ type: "outside" }), "unknown", "none of this cluster's", "--nats URL"],
    [
      "an address in a Secret",
      { secret: ["run sums"] },
      "unknown",
      "run sums: the address is in a Secret",
      "--nats URL",
    ],
    [
      "no address at all",
      { without: ["sums"] },
      "failed",
      "no message server is known to: sums",
      "OARLOCK_NATS_URL",
    ],
    [
      "a run's own that serves",
      { own: [{ run: "sums", statefulSet: "sums-nats", ready: 1 }] },
      "ok",
      "run sums serves",
      "",
    ],
    [
      "a run's own that does not",
      { own: [{ run: "sums", statefulSet: "sums-nats", ready: 0 }] },
      "failed",
      "does not serve",
      "kubectl -n team describe pod sums-nats-0",
    ],
    [
      "an answer",
      answers({}),
      "ok",
      "nats-server 2.12.1 at nats://nats.team.svc:4222, JetStream is on: 3 streams, 1.0 GiB stored, 2.0 GiB promised, no limit",
      "",
    ],
    ["room", answers({ maxBytes: 4 * GIB, maxStreams: 100 }), "ok", "4.0 GiB at most", ""],
    [
      "little room",
      answers({ maxBytes: 2.1 * GIB }),
      "warning",
      "only 102 MiB of storage left",
      "kubectl delete trun",
    ],
    ["few streams", answers({ maxStreams: 8 }), "warning", "only 5 streams left", "kubectl delete trun"],
    ["no answer", refuses("BUS_UNREACHABLE"), "failed", "[BUS_UNREACHABLE] no", "kubectl port-forward"],
    ["a stranger", refuses("BUS_REFUSED"), "failed", "[BUS_REFUSED]", "NATS_CREDS"],
    ["no JetStream", refuses("BUS_JETSTREAM_DISABLED"), "failed", "[BUS_JETSTREAM_DISABLED]", "--jetstream"],
    [
      "something else",
      refuses("DEADLINE_EXCEEDED"),
      "failed",
      "[DEADLINE_EXCEEDED]",
      "JetStream enabled for the account",
    ],
  ])("%s", (...[, facts, state, says, fix]) => {
    const [finding, ...others] = nats(facts);
    expect({ state: finding?.state, others }).toEqual({ state, others: [] });
    expect(finding?.message).toContain(says);
    expect(finding?.fix ?? "").toContain(fix);
    expect(finding?.fix === undefined).toBe(state === "ok");
  });

  it.each([
    ["nats://nats:4222", { namespace: "team", name: "nats" }],
    ["nats://nats.oarlock-system.svc:4222", { namespace: "oarlock-system", name: "nats" }],
    ["tls://nats.mq.svc.cluster.local", { namespace: "mq", name: "nats" }],
    ["nats://nats-0.nats.mq.svc:4222", { namespace: "mq", name: "nats" }],
    ["nats://nats.example.com:4222", undefined],
    ["nats://10.0.0.7:4222", undefined],
    ["nats://localhost:4222", undefined],
    ["nats://[::1]:4222", undefined],
  ])("knows a Service by its address: %s", (url, expected) =>
    expect(serviceOf(url, "team")).toEqual(expected),
  );
});

const CARDS = "nvidia.com/gpu";
const limits = (cards: number) => ({ resources: { limits: { [CARDS]: String(cards) } } });
const node = (name: string, cards: number, labels: Readonly<Record<string, string>> = {}): Node => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name, labels },
  status: {
    conditions: [{ type: "Ready", status: "True" }],
    allocatable: cards === 0 ? {} : { [CARDS]: String(cards) },
  },
});
const silent = (given: Node): Node => ({
  ...given,
  status: { ...given.status, conditions: [{ type: "Ready", status: "Unknown" }] },
});
/** A run by what it asks of devices: the rest of it says nothing here. */
const run = (spec: object, status: object = {}): TrainingRun =>
  ({
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name: "sums" },
    spec,
    status,
  }) as TrainingRun;
const pool = (more: Omit<RolePool, "apiVersion" | "kind" | "metadata" | "spec">, replicas = 1): RolePool => ({
  apiVersion: "oarlock.dev/v1alpha1",
  kind: "RolePool",
  metadata: { name: "sums-actor" },
  spec: { runName: "sums", role: "actor", replicas },
  ...more,
});
const kind = (provider: string, device: string, pods: number) => ({ provider, device, driver: "d", pods });
const cuda = { compute: { provider: "cuda" } };
const bothAsk = {
  ...cuda,
  roles: [
    { name: "learner", ...limits(1) },
    { name: "actor", ...limits(1) },
  ],
};
const missing = {
  type: "Failed",
  status: "True",
  reason: "DeviceMissing",
  message: "sums-actor-x: no card",
  lastTransitionTime: "t",
} as const;

type DeviceRow = readonly [
  what: string,
  facts: Partial<DeviceFacts>,
  state: Finding["state"],
  says: string,
  fix: string,
];

describe("doctor of devices", () => {
  it.each<DeviceRow>([
    ["nobody asks for cards", { nodes: [node("a", 0)] }, "ok", `1 node(s), 0 of ${CARDS}`, ""],
    [
      "enough cards",
      { runs: [run(bothAsk)], nodes: [node("a", 2)] },
      "ok",
      `2 of ${CARDS}; runs ask for 2`,
      "",
    ],
    [
      "no card",
      {
        runs: [
          run({
            ...cuda,
            roles: [
              { name: "learner", ...limits(1) },
              { name: "actor", ...limits(0) },
            ],
          }),
        ],
        nodes: [node("a", 0)],
      },
      "failed",
      `a learner pod asks for 1 of ${CARDS}, no node has more than 0`,
      "device plugin",
    ],
    [
      "a card on a node that is silent",
      { runs: [run(bothAsk)], nodes: [silent(node("a", 2))] },
      "failed",
      "no node has more than 0",
      "device plugin",
    ],
    [
      "cards on other nodes",
      {
        runs: [
          run({
            ...cuda,
            roles: [
              { name: "learner", ...limits(1), nodeSelector: { pool: "h100" } },
              { name: "actor", ...limits(1) },
            ],
          }),
        ],
        nodes: [node("a", 2, { pool: "l4" })],
      },
      "failed",
      "no node that its nodeSelector takes has more than 0",
      "",
    ],
    [
      "more cards than a node has",
      {
        runs: [
          run({
            ...cuda,
            roles: [
              { name: "learner", ...limits(4) },
              { name: "actor", ...limits(1) },
            ],
          }),
        ],
        nodes: [node("a", 2), node("b", 2)],
      },
      "failed",
      "asks for 4 of nvidia.com/gpu, no node has more than 2",
      "ask for 2",
    ],
    [
      "more pods than cards",
      { runs: [run(bothAsk)], pools: [pool({}, 3)], nodes: [node("a", 2)] },
      "warning",
      "2 of nvidia.com/gpu; runs ask for 4",
      "kubectl scale rpool/RUN-actor",
    ],
    [
      "a suspended run holds none",
      { runs: [run({ ...bothAsk, suspend: true })], nodes: [node("a", 1)] },
      "ok",
      "runs ask for 0",
      "",
    ],
    [
      "a finished run asks for nothing",
      { runs: [run(bothAsk, { conditions: [{ type: "Complete", status: "True" }] })], nodes: [node("a", 0)] },
      "ok",
      `0 of ${CARDS}`,
      "",
    ],
    ["nodes that may not be seen", { nodes: undefined }, "unknown", "you may not look", "somebody"],
  ])("%s", (...[, facts, state, says, fix]) => {
    const findings = deviceFindings({ runs: [], pools: [], nodes: [], ...facts });
    expect(findings.find((one) => one.state === state)?.message).toContain(says);
    expect(findings.find((one) => one.state === state)?.fix ?? "").toContain(fix);
  });

  it.each<DeviceRow>([
    [
      "a plan for cards and no request",
      { runs: [run({ ...cuda, roles: [{ name: "learner", ...limits(1) }] })], nodes: [node("a", 1)] },
      "warning",
      "sums computes on cuda, and asks for no nvidia.com/gpu for actor",
      "roles[].resources.limits",
    ],
    [
      "what pods compute on",
      { pools: [pool({ status: { devices: [kind("cuda", "NVIDIA L4", 2)] } })] },
      "ok",
      "sums-actor: 2 on cuda, NVIDIA L4 (d)",
      "",
    ],
    [
      "pods on different devices",
      { pools: [pool({ status: { devices: [kind("cpu", "A", 2), kind("cpu", "B", 1)] } })] },
      "warning",
      "2 on cpu, A (d); 1 on cpu, B (d)",
      "nodeSelector",
    ],
    [
      "a pod without its device",
      { pools: [pool({ status: { devices: [kind("cuda", "L4", 1)], conditions: [missing] } })] },
      "failed",
      "sums-actor: sums-actor-x: no card",
      "runtimeClassName",
    ],
  ])("%s", (...[, facts, state, says, fix]) => {
    const [, finding, ...others] = deviceFindings({ runs: [], pools: [], nodes: [], ...facts });
    expect({ state: finding?.state, others }).toEqual({ state, others: [] });
    expect(finding?.message).toContain(says);
    expect(finding?.fix ?? "").toContain(fix);
  });
});
