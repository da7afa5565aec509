/**
 * On what the pods of a role compute, from what each said of itself, and which pods found no device. Pure; `device-views.ts`
 * asks them.
 */
import { conditionOf } from "@oarlock/kube";
import { CARD_RESOURCE, cardsAsked, type RoleName } from "@oarlock/runfile";
import type { ContainerStatus, DeviceStatus, Pod, PoolRole, TrainingRun } from "./api.ts";
import { isReady, livePods, type Observed, podsOf } from "./observed.ts";
import { ROLES, roleSpec } from "./roles.ts";

/** What a pod said that it computes on. */
export type Device = Omit<DeviceStatus, "pods">;

/** Exit code of a service that did not find the device of its plan. */
export const DEVICE_MISSING_EXIT = 6;
/** Kinds of devices told apart in one role. */
const MOST_KINDS = 16;

/**
 * Pods that serve, by what they compute on; as it was while some have not answered, so that a controller that just started
 * writes nothing.
 */
export function devicesOf(
  observed: Observed,
  role: RoleName,
  before: readonly DeviceStatus[] | undefined,
): readonly DeviceStatus[] | undefined {
  const serving = livePods(podsOf(observed, role)).filter(isReady);
  const known = serving.map(({ metadata }) => observed.devices?.get(metadata.uid ?? ""));
  if (known.length === 0 || known.includes(undefined)) return before;
  const kinds = new Map<string, DeviceStatus>();
  for (const device of known) {
    if (device === undefined) continue;
    const key = JSON.stringify([device.provider, device.device, device.driver]);
    kinds.set(key, { ...device, pods: (kinds.get(key)?.pods ?? 0) + 1 });
  }
  const sorted = [...kinds].toSorted(([left], [right]) => (left < right ? -1 : 1));
  return sorted.slice(0, MOST_KINDS).map(([, kind]) => kind);
}

/** The words of a pod that found no device, where it is one. */
function missingIn({ metadata, status }: Pod): string | undefined {
  const ends = (status?.containerStatuses ?? []).flatMap((container) => endsOf(container));
  const end = ends.find(({ exitCode }) => exitCode === DEVICE_MISSING_EXIT);
  return end && `${metadata.name}: ${end.message?.trim() || `exit code ${DEVICE_MISSING_EXIT}`}`;
}

type End = NonNullable<NonNullable<ContainerStatus["state"]>["terminated"]>;

/** How a container ended, now or before its restart. One that serves found what it needs. */
function endsOf({ ready, state, lastState }: ContainerStatus): readonly End[] {
  return ready ? [] : [state?.terminated, lastState?.terminated].filter((end) => end !== undefined);
}

/** Pods of a role without their device, in their words. */
export function podsWithoutDevice(observed: Observed, role: PoolRole): readonly string[] {
  return livePods(podsOf(observed, role))
    .map(missingIn)
    .filter((words) => words !== undefined);
}

/**
 * Why the run cannot have the devices that it asks for: a role whose card would be idle, a learner without one, or a pool in
 * which no pod found one. Where some pods of a pool serve, the run goes on without the others.
 */
export function deviceMissing(observed: Observed): string | undefined {
  return idleCard(observed.run) ?? learnerWithout(observed) ?? poolWithout(observed);
}

function idleCard(run: TrainingRun): string | undefined {
  const provider = run.spec.compute?.provider ?? "cpu";
  const role = provider === "cpu" ? ROLES.find((name) => cardsAsked(roleSpec(run, name)) > 0) : undefined;
  if (role === undefined) return undefined;
  return `role ${role} asks for ${CARD_RESOURCE} and compute.provider is cpu: set it to cuda, or take the card from roles[].resources`;
}

/** Its Job does not try again. */
function learnerWithout(observed: Observed): string | undefined {
  return podsOf(observed, "learner")
    .map(missingIn)
    .find((words) => words !== undefined);
}

function poolWithout(observed: Observed): string | undefined {
  for (const role of ["actor", "reward"] as const) {
    const words = podsWithoutDevice(observed, role);
    const [first] = words;
    if (first !== undefined && words.length === livePods(podsOf(observed, role)).length) return first;
  }
  return undefined;
}

/** Whether a run was ended for want of a device. */
export function endedWithoutDevice({ status }: TrainingRun): string | undefined {
  const failed = conditionOf(status?.conditions ?? [], "Failed");
  return failed?.status === "True" && failed.reason === "DeviceMissing" ? failed.message : undefined;
}
