/** Sessions by what they compute, made when first needed, the longest unused closed beyond `CAPACITY`. */
import { type LlamaConfig, parameterCount } from "@oarlock/nn";
import type { OrtRuntime, OrtSession } from "@oarlock/ort";
import { forwardModel, type ForwardSpec, gradientModel, type GradientSpec } from "./graphs.ts";

/** Lengths × objectives in use at once are few; each session keeps its own scratch memory. */
const CAPACITY = 24;

export interface SessionCache {
  forward(spec: ForwardSpec): Promise<OrtSession>;
  gradients(spec: GradientSpec): Promise<OrtSession>;
  close(): Promise<void>;
}

/** Parameters from which a session's scratch memory counts: each length would keep its own. */
const LARGE_PARAMETERS = 20e6;

export function createSessionCache(ort: OrtRuntime, config: LlamaConfig): SessionCache {
  const options = { releasesScratch: parameterCount(config) >= LARGE_PARAMETERS };
  const sessions = new Map<string, Promise<OrtSession>>();
  const open = async (key: string, model: () => Uint8Array): Promise<OrtSession> => {
    const found = sessions.get(key) ?? ort.createSession(model(), options);
    sessions.delete(key); // to the end of the map: most recently used
    sessions.set(key, found);
    for (const [oldest, session] of sessions) {
      if (sessions.size <= CAPACITY) break;
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
    forward: (spec) => open(key("forward", spec), () => forwardModel(spec)),
    gradients: (spec) => open(key("gradients", spec), () => gradientModel(spec)),
    async close() {
      await Promise.allSettled([...sessions.values()].map(async (session) => (await session).close()));
      sessions.clear();
    },
  };
}
