/** Sessions by what they compute, made when first needed, the longest unused closed beyond the capacity. */
import { type LlamaConfig, parameterCount } from "@oarlock/nn";
import { lackingOperators, type OrtRuntime, type OrtSession } from "@oarlock/ort";
import {
  forwardModel,
  type ForwardSpec,
  gradientModel,
  type GradientSpec,
  type TrainingModel,
} from "./graphs.ts";

/** A trainer's objectives, each with and without a prefix, are seldom half as many. */
const CAPACITY = 24;

export interface TrainingSession extends Pick<TrainingModel, "sizes"> {
  readonly session: OrtSession;
}

export interface SessionCache {
  forward(spec: ForwardSpec): Promise<TrainingSession>;
  gradients(spec: GradientSpec): Promise<TrainingSession>;
  close(): Promise<void>;
}

/** Parameters from which a session gives scratch memory back: it would keep the most that any run needed. */
export const LARGE_PARAMETERS = 20e6;

export function createSessionCache(ort: OrtRuntime, config: LlamaConfig): SessionCache {
  const options = { releasesScratch: parameterCount(config) >= LARGE_PARAMETERS };
  const without = lackingOperators(ort.provider);
  const sessions = new Map<string, Promise<TrainingSession>>();
  const create = async ({ bytes, sizes }: TrainingModel): Promise<TrainingSession> => ({
    session: await ort.createSession(bytes, options),
    sizes,
  });
  const closeOne = async (found: Promise<TrainingSession>): Promise<void> => (await found).session.close();
  const open = (key: string, model: () => TrainingModel): Promise<TrainingSession> => {
    const known = sessions.get(key);
    const found = known ?? create(model());
    if (known === undefined) {
      found.catch(() => {
        if (sessions.get(key) === found) sessions.delete(key);
      });
    }
    sessions.delete(key); // to the end of the map: most recently used
    sessions.set(key, found);
    const [oldest] = sessions;
    if (oldest !== undefined && sessions.size > CAPACITY) {
      sessions.delete(oldest[0]);
      closeOne(oldest[1]).catch(() => undefined); // nobody waits for it
    }
    return found;
  };
  const key = (kind: string, { config: _config, ...rest }: ForwardSpec): string =>
    `${kind} ${JSON.stringify(rest)}`;
  return {
    forward: (spec) => open(key("forward", spec), () => forwardModel(spec, without)),
    gradients: (spec) => open(key("gradients", spec), () => gradientModel(spec, without)),
    async close() {
      await Promise.allSettled([...sessions.values()].map(closeOne));
      sessions.clear();
    },
  };
}
