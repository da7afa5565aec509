/** Looks at identities that somebody else made: whether they can be used, and for how long. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import type { Identity } from "./authority.ts";

/** Why an identity cannot be used, in a sentence without its subject. */
export type IdentityProblem = string;

/** When its certificate ends, in milliseconds since 1970. */
export function expiresAtMs({ cert }: Pick<Identity, "cert">): number {
  return Date.parse(read(cert, "certificate", (pem) => new X509Certificate(pem)).validTo);
}

/** What is wrong with it at this moment; undefined: nothing. Chains through others are left to TLS itself. */
export function problemOf({ cert, key, ca }: Identity, nowMs: number): IdentityProblem | undefined {
  try {
    const leaf = read(cert, "certificate", (pem) => new X509Certificate(pem));
    const secret = read(key, "key", createPrivateKey);
    read(ca, "authority", (pem) => new X509Certificate(pem));
    if (!leaf.checkPrivateKey(secret)) return "its key is not that of its certificate";
    if (Date.parse(leaf.validTo) <= nowMs) return `its certificate expired on ${leaf.validTo}`;
    if (Date.parse(leaf.validFrom) > nowMs) return `its certificate is not valid before ${leaf.validFrom}`;
    return undefined;
  } catch (reason) {
    if (isOarlockError(reason)) return reason.rawMessage;
    throw reason;
  }
}

function read<T>(pem: string, what: string, parse: (pem: string) => T): T {
  try {
    return parse(pem);
  } catch (cause) {
    throw new OarlockError("CERTIFICATE_UNREADABLE", `its ${what} is no PEM text`, { cause });
  }
}
