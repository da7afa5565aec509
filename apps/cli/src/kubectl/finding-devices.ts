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
  readonly status?: {
    readonly readyReplicas?: number;
    readonly devices?: readonly DeviceKind[];
    readonly conditions?: readonly Condition[];
  };
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
  const unfinished = new Set(live.runs.map(({ metadata }) => metadata.name));
  const pools = facts.pools.flatMap((pool) => poolFindings(pool, unfinished.has(pool.spec.runName)));
  return [...nodeFindings(live), ...live.runs.flatMap(cardless), ...pools];
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

/** A pod must fit on one node, whatever all nodes have together. Nodes of a pool that is at zero come when a pod asks for them. */
function unmetBy({ run, role, cards, pods }: Asking, nodes: readonly Node[]): readonly Finding[] {
  if (pods === 0) return [];
  const selected = nodes.filter(({ metadata }) =>
    Object.entries(role.nodeSelector ?? {}).every(([key, value]) => metadata.labels?.[key] === value),
  );
  const most = Math.max(0, ...selected.map(cardsOf));
  if (cards <= most) return [];
  const selector = role.nodeSelector === undefined ? "" : " that its nodeSelector takes";
  const message = `${run.metadata.name}: a ${role.name} pod asks for ${cards} of ${CARD_RESOURCE}, no node${selector} has more than ${most}`;
  if (most > 0) {
    const fix = `ask for ${most} in roles[].resources, or add a node with ${cards}`;
    return [{ check: "devices", state: "failed", message, fix }];
  }
  const fix =
    `where an autoscaler adds such nodes: nothing; else kubectl describe node: ${CARD_RESOURCE} is under Allocatable once NVIDIA's ` +
    `device plugin runs there; without cards, compute.provider: cpu and no ${CARD_RESOURCE} in roles[].resources`;
  return [{ check: "devices", state: "warning", message: `${message} now`, fix }];
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

/** Of a pool, and whether its run goes on: what an ended one met is history, and so is what pods said that are gone. */
function poolFindings({ metadata: { name }, status = {} }: RolePool, goesOn: boolean): readonly Finding[] {
  const failed = conditionOf(status.conditions ?? [], "Failed");
  if (failed?.status === "True" && failed.reason === "DeviceMissing") {
    const message = `${name}${goesOn ? "" : ", of a run that is over"}: ${failed.message}`;
    return [{ check: "devices", state: goesOn ? "failed" : "warning", message, fix: WITHOUT_DEVICE }];
  }
  const serves = goesOn && (status.readyReplicas ?? 0) > 0;
  return serves ? computing(name, status.devices ?? []) : [];
}

const WITHOUT_DEVICE =
  "an image with the provider (docs/images.md), a driver of its time on the node, roles[].runtimeClassName, tolerations";

/** What the pods of a pool compute on. */
function computing(pool: string, kinds: readonly DeviceKind[]): readonly Finding[] {
  if (kinds.length === 0) return [];
  const said = kinds
    .map(({ provider, device, driver, pods }) => `${pods} on ${provider}, ${device} (${driver})`)
    .join("; ");
  if (kinds.length === 1) return [ok("devices", `${pool}: ${said}`)];
  return [
    {
      check: "devices",
      state: "warning",
      message: `${pool}: pods compute on different devices, which may give other bits: ${said}`,
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
