/** Have nodes the cards that roles ask for, and what do pods say that they compute on. */
import {
  type Condition,
  conditionOf,
  isSilent,
  isStatus,
  isTrue,
  type KubeObject,
  type Node,
  NODES,
  type Resource,
} from "@oarlock/kube";
import { CARD_RESOURCE, cardsAsked, type RoleName, type RoleSpec } from "@oarlock/runfile";
import { type Cluster, TRAINING_RUNS, type TrainingRun } from "./cluster.ts";
import { AS_ADMINISTRATOR, type Finding, ok } from "./finding.ts";

const ROLE_POOLS: Resource = { apiVersion: "oarlock.dev/v1alpha1", kind: "RolePool", plural: "rolepools" };

/** What pods of a role said that they compute on. */
interface DeviceKind {
  readonly provider: string;
  readonly device: string;
  readonly driver: string;
  readonly pods: number;
}

export interface RolePool extends KubeObject {
  readonly spec: { readonly runName: string; readonly role: RoleName; readonly replicas?: number };
  readonly status?: { readonly devices?: readonly DeviceKind[]; readonly conditions?: readonly Condition[] };
}

export interface DeviceFacts {
  /** Of the namespace. */
  readonly runs: readonly TrainingRun[];
  readonly pools: readonly RolePool[];
  /** Undefined where the user may not look at them. */
  readonly nodes: readonly Node[] | undefined;
}

/** The findings. */
export async function devices({ client, namespace }: Cluster): Promise<readonly Finding[]> {
  const [runs, pools, nodes] = await Promise.all([
    client.list<TrainingRun>(TRAINING_RUNS, { namespace }),
    client.list<RolePool>(ROLE_POOLS, { namespace }),
    client.list<Node>(NODES).catch((reason: unknown) => {
      if (isStatus(reason, 403)) return undefined;
      throw reason;
    }),
  ]);
  return deviceFindings({ runs: runs.items, pools: pools.items, nodes: nodes?.items });
}

/** Pure. */
export function deviceFindings(facts: DeviceFacts): readonly Finding[] {
  const live = { ...facts, runs: facts.runs.filter(isUnfinished) };
  return [...nodeFindings(live), ...live.runs.flatMap(cardless), ...facts.pools.flatMap(poolFindings)];
}

/** A role that asks for cards, and how many pods of it there should be now. */
interface Asking {
  readonly run: TrainingRun;
  readonly role: RoleSpec;
  readonly cards: number;
  readonly pods: number;
}

function nodeFindings({ runs, pools, nodes }: DeviceFacts): readonly Finding[] {
  const asking = runs.flatMap((run) => askingOf(run, pools));
  if (nodes === undefined)
    return [
      {
        check: "devices",
        state: "unknown",
        message: "you may not look at the cards of nodes",
        fix: AS_ADMINISTRATOR,
      },
    ];
  const there = nodes.filter((node) => !isSilent(node));
  const offered = sum(there.map(cardsOf));
  const wanted = sum(asking.map(({ cards, pods }) => cards * pods));
  const unmet = asking.flatMap((one) => unmetBy(one, there));
  if (unmet.length > 0) return unmet;
  const sentence = `${nodes.length} node(s), ${offered} of ${CARD_RESOURCE}`;
  if (wanted <= offered)
    return [ok("devices", asking.length === 0 ? sentence : `${sentence}; runs ask for ${wanted}`)];
  return [
    {
      check: "devices",
      state: "warning",
      message: `${sentence}; runs ask for ${wanted}: some pods wait`,
      fix: "kubectl oarlock suspend RUN, kubectl scale rpool/RUN-actor --replicas=N, or more nodes with cards",
    },
  ];
}

function askingOf(run: TrainingRun, pools: readonly RolePool[]): readonly Asking[] {
  const { name: runName } = run.metadata;
  return (run.spec.roles ?? []).flatMap((role) => {
    const cards = cardsAsked(role);
    const pool = pools.find(({ spec }) => spec.runName === runName && spec.role === role.name);
    const pods = run.spec.suspend === true ? 0 : (pool?.spec.replicas ?? role.replicas ?? 1);
    return cards === 0 ? [] : [{ run, role, cards, pods }];
  });
}

/** A pod must fit on one node, whatever all nodes have together. */
function unmetBy({ run, role, cards }: Asking, nodes: readonly Node[]): readonly Finding[] {
  const selected = nodes.filter(({ metadata }) =>
    Object.entries(role.nodeSelector ?? {}).every(([key, value]) => metadata.labels?.[key] === value),
  );
  const most = Math.max(0, ...selected.map(cardsOf));
  if (cards <= most) return [];
  const selector = role.nodeSelector === undefined ? "" : " that its nodeSelector takes";
  const message = `${run.metadata.name}: a ${role.name} pod asks for ${cards} of ${CARD_RESOURCE}, no node${selector} has more than ${most}`;
  const fix =
    most === 0
      ? `kubectl describe node: ${CARD_RESOURCE} is under Allocatable once NVIDIA's device plugin runs there; without cards, compute.provider: cpu and no ${CARD_RESOURCE} in roles[].resources`
      : `ask for ${most} in roles[].resources, or add a node with ${cards}`;
  return [{ check: "devices", state: "failed", message, fix }];
}

/** The roles that compute on the provider. */
const COMPUTING: readonly RoleName[] = ["learner", "actor"];

/** Without a request for one, a pod sees no card. */
function cardless(run: TrainingRun): readonly Finding[] {
  if (run.spec.compute?.provider !== "cuda") return [];
  const specOf = (name: RoleName): RoleSpec => run.spec.roles?.find((role) => role.name === name) ?? { name };
  const without = COMPUTING.filter((name) => cardsAsked(specOf(name)) === 0);
  if (without.length === 0) return [];
  return [
    {
      check: "devices",
      state: "warning",
      message: `${run.metadata.name} computes on cuda, and asks for no ${CARD_RESOURCE} for ${without.join(" and ")}`,
      fix: `roles[].resources.limits: { ${CARD_RESOURCE}: "1" }`,
    },
  ];
}

function poolFindings({ metadata: { name }, status }: RolePool): readonly Finding[] {
  const failed = conditionOf(status?.conditions ?? [], "Failed");
  const kinds = status?.devices ?? [];
  const said = kinds.map(
    ({ provider, device, driver, pods }) => `${pods} on ${provider}, ${device} (${driver})`,
  );
  if (failed?.status === "True" && failed.reason === "DeviceMissing")
    return [
      {
        check: "devices",
        state: "failed",
        message: `${name}: ${failed.message}`,
        fix: "an image with the provider (docs/images.md), a driver of its time on the node, roles[].runtimeClassName, tolerations",
      },
    ];
  if (kinds.length === 0) return [];
  if (kinds.length === 1) return [ok("devices", `${name}: ${said.join("; ")}`)];
  return [
    {
      check: "devices",
      state: "warning",
      message: `${name}: pods compute on different devices, which may give other bits: ${said.join("; ")}`,
      fix: "roles[].nodeSelector, for nodes of one kind",
    },
  ];
}

function isUnfinished({ status }: TrainingRun): boolean {
  return !["Complete", "Failed"].some((type) => isTrue(status?.conditions ?? [], type));
}

function cardsOf({ status }: Node): number {
  return Number(status?.allocatable?.[CARD_RESOURCE] ?? 0);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
