/**
 * The controller as the authority of one run: it signs a certificate for the run's pods into a Secret that it can make and never
 * read, renews it in time by making another, and signs itself one to call the learner with. Each Secret belongs to a ConfigMap of the
 * same name: the controller may not remove the one, and removes the other.
 */
import { type Authority, type Identity, openAuthority } from "@oarlock/certificates";
import type { KubeClient, KubeObject } from "@oarlock/kube";
import type { TlsOptions } from "@oarlock/rpc";
import { sha256Hex } from "@oarlock/runtime";
import { CHILDREN, type TrainingRun } from "../api.ts";
import { child } from "../children/child.ts";
import { childName, MANAGER } from "../names.ts";
import type { Observed } from "../observed.ts";
import { jobCondition, planOf } from "../observed.ts";
import { CERTIFICATE_PART, dnsNamesOf } from "./names.ts";
import { runSecret, type SecretObject, SECRETS } from "../secrets.ts";
import { type AuthorityNote, noteOf, type TlsState } from "./state.ts";

const DAY_MS = 86_400_000;
const DEFAULT_VALID_DAYS = 90;
/** Clocks of nodes differ. */
const SKEW_MS = 300_000;
const AUTHORITY_MS = 3_650 * DAY_MS;
const CLIENT_MS = DAY_MS;
const NAME_DIGITS = 10;

export interface RunAuthorities {
  of(seen: Observed, signal: AbortSignal): Promise<TlsState | undefined>;
  forget(uid: string): void;
}

interface Known {
  readonly authority: Authority;
  client: TlsOptions;
  clientUntilMs: number;
  /** What was issued and may not be seen yet. */
  issued?: AuthorityNote;
}

/** `root` gives the controller's secret. */
export function createRunAuthorities(
  client: KubeClient,
  root: (signal: AbortSignal) => Promise<Buffer>,
): RunAuthorities {
  const known = new Map<string, Known>();
  const open = async (run: TrainingRun, nowMs: number, signal: AbortSignal): Promise<Known> => {
    const { uid = "" } = run.metadata;
    const found = known.get(uid);
    if (found !== undefined && found.clientUntilMs - nowMs > CLIENT_MS / 2) return found;
    const authority = found?.authority ?? (await authorityOf(run, await root(signal)));
    const until = nowMs + CLIENT_MS;
    const client = await authority.issue({
      name: "oarlock-controller",
      dnsNames: [],
      notBefore: new Date(nowMs - SKEW_MS),
      notAfter: new Date(until),
    });
    const made = { ...found, authority, client, clientUntilMs: until };
    known.set(uid, made);
    return made;
  };
  return {
    async of(seen, signal) {
      const { run, nowMs } = seen;
      const mine = await open(run, nowMs, signal);
      const note = mine.issued ?? noteOf(seen);
      const current = note !== undefined && note.authority === mine.authority.fingerprint;
      if (current && (!isDue(note, run, nowMs) || !mayIssue(seen))) return ready(note, mine);
      if (!mayIssue(seen)) return undefined;
      mine.issued = await issue(client, { run, authority: mine.authority, nowMs, signal });
      return ready(mine.issued, mine);
    },
    forget: (uid) => void known.delete(uid),
  };
}

function ready(note: AuthorityNote, { client }: Known): TlsState {
  const { secretName, digest } = note;
  return { type: "ready", pods: { secretName, digest }, client, note };
}

/** Before there is a plan, and after the end, nobody needs one. */
function mayIssue(seen: Observed): boolean {
  const over = jobCondition(seen, "Complete") ?? jobCondition(seen, "Failed");
  return (
    planOf(seen) !== undefined && seen.run.metadata.deletionTimestamp === undefined && over === undefined
  );
}

function validMs({ spec }: TrainingRun): number {
  return (spec.security?.tls?.runCA?.validDays ?? DEFAULT_VALID_DAYS) * DAY_MS;
}

/** After two thirds of its life. */
function isDue({ notAfterMs }: AuthorityNote, run: TrainingRun, nowMs: number): boolean {
  return nowMs > notAfterMs - validMs(run) / 3;
}

function authorityOf({ metadata }: TrainingRun, secret: Uint8Array): Promise<Authority> {
  const { name, namespace = "default", uid = "", creationTimestamp = "2026-01-01T00:00:00Z" } = metadata;
  const bornMs = Date.parse(creationTimestamp);
  return openAuthority({
    secret,
    of: uid,
    purpose: "oarlock run authority, P-256",
    name: `oarlock ${namespace}/${name}`.slice(0, 64),
    notBefore: new Date(bornMs - DAY_MS),
    notAfter: new Date(bornMs + AUTHORITY_MS),
  });
}

async function issue(
  client: KubeClient,
  of: {
    readonly run: TrainingRun;
    readonly authority: Authority;
    readonly nowMs: number;
    readonly signal: AbortSignal;
  },
): Promise<AuthorityNote> {
  const { run, authority, nowMs, signal } = of;
  // Certificates count in seconds.
  const notAfterMs = Math.floor((nowMs + validMs(run)) / 1000) * 1000;
  const identity = await authority.issue({
    name: run.metadata.name,
    dnsNames: dnsNamesOf(run),
    notBefore: new Date(nowMs - SKEW_MS),
    notAfter: new Date(notAfterMs),
  });
  const digest = sha256Hex(identity.cert);
  const secretName = childName(run.metadata.name, `${CERTIFICATE_PART}${digest.slice(0, NAME_DIGITS)}`);
  const owner = child(run, { kind: "ConfigMap", name: secretName }, {});
  const made = await client.apply<KubeObject>(CHILDREN.ConfigMap, owner, { fieldManager: MANAGER, signal });
  await client.create<SecretObject>(SECRETS, secretOf(run, made, identity), { signal });
  return { secretName, digest, notAfterMs, authority: authority.fingerprint, ca: identity.ca };
}

function secretOf(run: TrainingRun, owner: KubeObject, { cert, key, ca }: Identity): SecretObject {
  const files = { "tls.crt": cert, "tls.key": key, "ca.crt": ca };
  return runSecret(run, { name: owner.metadata.name, type: "kubernetes.io/tls", files, owner });
}
