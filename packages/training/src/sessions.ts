/** Sessions by what they compute, made when first needed, the longest unused closed beyond the capacity. */
import { type LlamaConfig, parameterCount } from "@oarlock/nn";
import { lackingOperators, type OrtRuntime, type OrtSession } from "@oarlock/ort";
import { forwardModel, type ForwardSpec, gradientModel, type GradientSpec } from "./graphs.ts";

/** Extents × objectives in use at once are some dozens; each session keeps its own scratch memory. */
const CAPACITY = { small: 96, large: 24 } as const;

export interface SessionCache {
  forward(spec: ForwardSpec): Promise<OrtSession>;
  gradients(spec: GradientSpec): Promise<OrtSession>;
  close(): Promise<void>;
}

/** Parameters from which a session's scratch memory counts: each length would keep its own. */
export const LARGE_PARAMETERS = 20e6;

export function createSessionCache(ort: OrtRuntime, config: LlamaConfig): SessionCache {
  const isLarge = parameterCount(config) >= LARGE_PARAMETERS;
  const options = { releasesScratch: isLarge };
  const capacity = isLarge ? CAPACITY.large : CAPACITY.small;
  const without = lackingOperators(ort.provider);
  const sessions = new Map<string, Promise<OrtSession>>();
  const open = async (key: string, model: () => Uint8Array): Promise<OrtSession> => {
    const found = sessions.get(key) ?? ort.createSession(model(), options);
    sessions.delete(key); // to the end of the map: most recently used
    sessions.set(key, found);
    for (const [oldest, session] of sessions) {
      if (sessions.size <= capacity) break;
      sessions.delete(oldest);
      await (await session).close();
    }
    return found.catch((error: unknown) => {
      sessions.delete(key);
      throw error;
    });
  };
  const key = (kind: string, { config: _config, ...rest }: ForwardSpec): string =>
    `${kind} ${JSON.stringify(rest)}`;
  return {
    forward: (spec) => open(key("forward", spec), () => forwardModel(spec, without)),
    gradients: (spec) => open(key("gradients", spec), () => gradientModel(spec, without)),
    async close() {
      await Promise.allSettled([...sessions.values()].map(async (session) => (await session).close()));
      sessions.clear();
    },
  };
}
