/** The certificates of every run, by what its file asks for; what was read is believed for a while. */
import { isStatus, type KubeClient } from "@oarlock/kube";
import type { Observed } from "../observed.ts";
import { certificateSecret, ensureCertificate, givenSecret } from "./given-secret.ts";
import { createRootSecret } from "./root-secret.ts";
import { createRunAuthorities } from "./run-authority.ts";
import type { TlsState } from "./state.ts";

export interface Identities {
  /** Undefined: plain text, or nothing is needed yet. */
  of(seen: Observed, signal: AbortSignal): Promise<TlsState | undefined>;
  /** Of a run that is gone. */
  forget(uid: string): void;
}

/** A renewed Secret is noticed within this. */
const BELIEVED_MS = 60_000;

interface Read {
  readonly state: TlsState;
  readonly of: string;
  readonly untilMs: number;
}

/** `namespace` is the controller's own. */
export function createIdentities(client: KubeClient, namespace: string): Identities {
  const authorities = createRunAuthorities(client, createRootSecret(client, namespace));
  const read = new Map<string, Read>();
  const given = async (seen: Observed, signal: AbortSignal): Promise<TlsState> => {
    const { run } = seen;
    const { secret } = run.spec.security?.tls ?? {};
    if (secret !== undefined) return givenSecret({ client, namespace }, seen, { name: secret.name, signal });
    const said = await ensureCertificate(client, run, signal);
    const state = await givenSecret({ client, namespace }, seen, { name: certificateSecret(run), signal });
    const why = said === undefined ? "" : `; cert-manager says: ${said}`;
    return state.type === "waiting" ? { ...state, message: state.message + why } : state;
  };
  const believed = async (seen: Observed, signal: AbortSignal): Promise<TlsState | undefined> => {
    const { uid = "", deletionTimestamp } = seen.run.metadata;
    const of = JSON.stringify(seen.run.spec.security);
    const known = read.get(uid);
    if (known?.of === of && known.untilMs > seen.nowMs) return known.state;
    // What a run that goes does not have it does not need.
    if (deletionTimestamp !== undefined) return undefined;
    const state = await given(seen, signal);
    if (state.type === "ready") read.set(uid, { state, of, untilMs: seen.nowMs + BELIEVED_MS });
    return state;
  };
  return {
    async of(seen, signal) {
      const { type } = seen.run.spec.security?.tls ?? {};
      if (type === undefined) return undefined;
      try {
        return await (type === "runCA" ? authorities.of(seen, signal) : believed(seen, signal));
      } catch (reason) {
        // No right to the own secret, or no cert-manager.
        if (isStatus(reason, 403, 404) && reason instanceof Error)
          return { type: "waiting", message: reason.message };
        throw reason;
      }
    },
    forget(uid) {
      authorities.forget(uid);
      read.delete(uid);
    },
  };
}
