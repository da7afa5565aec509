/**
 * Asks each pod that serves, once, what it computes on: beside the reconcile, which does not wait for it. Lost with the process:
 * the next one asks again.
 */
import { ActorService, LearnerService, RewardService, type ServiceStatus } from "@oarlock/proto";
import { openChannel, type RpcChannel, type TlsOptions } from "@oarlock/rpc";
import type { RoleName } from "@oarlock/runfile";
import type { Pod } from "./api.ts";
import type { Device } from "./devices.ts";
import { addressOf } from "./learner-client.ts";
import { ROLE_LABEL } from "./names.ts";
import { callerTls, isReady, livePods, type Observed } from "./observed.ts";

export interface DeviceViews {
  /** What is known of a run's pods, by uid; asks those that are not known. */
  look(key: string, seen: Pick<Observed, "run" | "pods" | "tls">): ReadonlyMap<string, Device>;
  forget(key: string): void;
}

/** Asks a pod; undefined where it does not answer. */
export type AskDevice = (pod: Pod, tls: TlsOptions | undefined) => Promise<Device | undefined>;

/** Pods asked at a time, of all runs. */
const AT_ONCE = 16;
const ASK_TIMEOUT_MS = 5_000;

/** Views that have seen nothing. `again` is told of a run of which more is known. */
export function createDeviceViews(ask: AskDevice, again: (key: string) => void): DeviceViews {
  const known = new Map<string, Map<string, Device>>();
  const asking = new Set<string>();
  const askOne = async (key: string, pod: Pod, tls: TlsOptions | undefined): Promise<void> => {
    const { uid = "" } = pod.metadata;
    asking.add(uid);
    const device = await ask(pod, tls).finally(() => asking.delete(uid));
    if (device === undefined) return;
    known.get(key)?.set(uid, device);
    again(key);
  };
  return {
    look(key, seen) {
      const { pods } = seen;
      const devices = known.get(key) ?? new Map<string, Device>();
      known.set(key, devices);
      const present = new Set(pods.map(({ metadata }) => metadata.uid));
      for (const uid of devices.keys()) if (!present.has(uid)) devices.delete(uid);
      for (const pod of livePods(pods).filter(isReady)) {
        const { uid } = pod.metadata;
        if (uid === undefined || devices.has(uid) || asking.has(uid) || asking.size >= AT_ONCE) continue;
        void askOne(key, pod, callerTls(seen, roleOf(pod)));
      }
      return devices;
    },
    forget: (key) => void known.delete(key),
  };
}

// Pods of ours carry one; another word has no service.
const roleOf = ({ metadata }: Pod): RoleName => metadata.labels?.[ROLE_LABEL] as RoleName;

type AskService = (channel: RpcChannel) => Promise<{ readonly service?: ServiceStatus | undefined }>;

const options = { timeoutMs: ASK_TIMEOUT_MS };
const SERVICES: Readonly<Record<RoleName, AskService>> = {
  actor: (channel) => channel.client(ActorService).getStatus({}, options),
  reward: (channel) => channel.client(RewardService).getStatus({}, options),
  learner: (channel) => channel.client(LearnerService).getRunStatus({}, options),
};

/** Asks over the service's own API, on a channel of its own: once in a pod's life. */
export const askDevice: AskDevice = async (pod, tls) => {
  const service = SERVICES[roleOf(pod)];
  const address = addressOf(pod);
  if (service === undefined || address === undefined) return undefined;
  const channel = openChannel(address, tls === undefined ? {} : { tls });
  try {
    const device = (await service(channel)).service?.device;
    return device && { provider: device.provider, device: device.device, driver: device.driver };
  } catch {
    // It ends, or is cut off: the next look asks again.
    return undefined;
  } finally {
    channel.close();
  }
};
