/** What `doctor` says of devices, from what is known of them: tables. */
import { describe, expect, it } from "vitest";
import type { Node } from "@oarlock/kube";
import type { TrainingRun } from "./cluster.ts";
import type { Finding } from "./finding.ts";
import { type DeviceFacts, deviceFindings, type RolePool } from "./finding-devices.ts";

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

const mixed = [kind("cpu", "A", 2), kind("cpu", "B", 1)];
const goesOn = run({});
const ended = run({}, { conditions: [{ type: "Failed", status: "True" }] });

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
      "warning",
      `a learner pod asks for 1 of ${CARDS}, no node has more than 0 now`,
      "where an autoscaler adds such nodes: nothing; else kubectl describe node",
    ],
    [
      "a card on a node that is silent",
      { runs: [run(bothAsk)], nodes: [silent(node("a", 2))] },
      "warning",
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
      "warning",
      "no node that its nodeSelector takes has more than 0 now",
      "autoscaler",
    ],
    [
      "a pool that is scaled to zero asks for none",
      {
        runs: [
          run({
            ...cuda,
            roles: [
              { name: "learner", ...limits(1) },
              { name: "actor", ...limits(4) },
            ],
          }),
        ],
        pools: [pool({}, 0)],
        nodes: [node("a", 1)],
      },
      "ok",
      "runs ask for 1",
      "",
    ],
    [
      "nor does a run that is suspended, where no node has any",
      { runs: [run({ ...bothAsk, suspend: true })], nodes: [node("a", 0)] },
      "ok",
      "runs ask for 0",
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
      {
        runs: [goesOn],
        pools: [pool({ status: { readyReplicas: 2, devices: [kind("cuda", "NVIDIA L4", 2)] } })],
      },
      "ok",
      "sums-actor: 2 on cuda, NVIDIA L4 (d)",
      "",
    ],
    [
      "pods on different devices",
      { runs: [goesOn], pools: [pool({ status: { readyReplicas: 3, devices: mixed } })] },
      "warning",
      "2 on cpu, A (d); 1 on cpu, B (d)",
      "nodeSelector",
    ],
    [
      "a pod without its device",
      {
        runs: [goesOn],
        pools: [pool({ status: { devices: [kind("cuda", "L4", 1)], conditions: [missing] } })],
      },
      "failed",
      "sums-actor: sums-actor-x: no card",
      "runtimeClassName",
    ],
    [
      "a pod without its device, of a run that is over",
      {
        runs: [ended],
        pools: [pool({ status: { devices: [kind("cuda", "L4", 1)], conditions: [missing] } })],
      },
      "warning",
      "sums-actor, of a run that is over: sums-actor-x: no card",
      "runtimeClassName",
    ],
  ])("%s", (...[, facts, state, says, fix]) => {
    const [, finding, ...others] = deviceFindings({ runs: [], pools: [], nodes: [], ...facts });
    expect({ state: finding?.state, others }).toEqual({ state, others: [] });
    expect(finding?.message).toContain(says);
    expect(finding?.fix ?? "").toContain(fix);
  });

  it.each<readonly [string, Partial<DeviceFacts>]>([
    ["of an ended run", { runs: [ended], pools: [pool({ status: { readyReplicas: 3, devices: mixed } })] }],
    ["of no run", { pools: [pool({ status: { readyReplicas: 3, devices: mixed } })] }],
    ["that are gone", { runs: [goesOn], pools: [pool({ status: { readyReplicas: 0, devices: mixed } }, 0)] }],
  ])("says nothing of what pods computed on %s", (_, facts) => {
    const found = deviceFindings({ runs: [], pools: [], nodes: [], ...facts });
    expect(found.map(({ state }) => state)).toEqual(["ok"]);
  });
});
