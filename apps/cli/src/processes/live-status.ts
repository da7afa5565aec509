/** What the processes of a run say of themselves now: who serves, who waits for whom, what lies on the bus. */
import { ActorService, LearnerService, RewardService } from "@oarlock/proto";
import type { ServiceStatus } from "@oarlock/proto";
import { openChannel } from "@oarlock/rpc";
import type { RpcChannel } from "@oarlock/rpc";
import { isAlive } from "../is-alive.ts";
import { accessAdvice, type ServiceAccess } from "../service-access.ts";
import type { ChildFacts } from "./child.ts";
import { readProcesses } from "./processes-file.ts";
import type { ChildRole } from "./restarts.ts";

/** One process, as far as it answers. */
export interface LiveProcess extends ChildFacts {
  /** Undefined where it does not answer. */
  readonly service: ServiceStatus | undefined;
  /** Of the learner: one sentence on where the run stands. */
  readonly message: string;
}

const ASK = { timeoutMs: 5_000 };

type Answer = { readonly service: ServiceStatus | undefined; readonly message: string };

const ask: { readonly [Role in ChildRole]: (channel: RpcChannel) => Promise<Answer> } = {
  async learner(channel) {
    const { run, service } = await channel.client(LearnerService).getRunStatus({}, ASK);
    return { service, message: run?.message ?? "" };
  },
  async actor(channel) {
    const { service, slotsBusy, slots, policies } = await channel.client(ActorService).getStatus({}, ASK);
    const held = policies.map(({ version }) => version).join(", ") || "none";
    return { service, message: `${slotsBusy} of ${slots} slots busy, policy versions held: ${held}` };
  },
  async reward(channel) {
    const { service, trajectoriesScored, trajectoriesFailed } = await channel
      .client(RewardService)
      .getStatus({}, ASK);
    return { service, message: `${trajectoriesScored} trajectories scored, ${trajectoriesFailed} failed` };
  },
};

/** The processes of the run in `folder`; none where it does not run on several, or not any more. Asked in plain text unless `access` says how. */
export async function liveStatus(
  folder: string,
  access: ServiceAccess = () => ({}),
): Promise<readonly LiveProcess[]> {
  const file = await readProcesses(folder);
  if (file === undefined) return [];
  const { children, tls } = file;
  const alive = await Promise.all(children.flatMap(({ pid }) => pid ?? []).map(isAlive));
  if (!alive.includes(true)) return [];
  const options = access(tls);
  return Promise.all(
    children.map(async (child) => {
      const silent = { ...child, service: undefined, message: "does not answer" };
      if (child.address === undefined) return silent;
      using channel = openChannel(child.address, options);
      const answer = await ask[child.role](channel).catch((reason: unknown) => {
        const advice = accessAdvice(reason, options);
        return advice === undefined ? silent : { ...silent, message: `${silent.message}; ${advice}` };
      });
      return { ...child, ...answer };
    }),
  );
}
