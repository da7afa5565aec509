/** Derived authorities and what they sign, checked by Node's own X.509 and TLS. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";
import { expect, it } from "vitest";
import { type Authority, type Identity, openAuthority } from "./authority.ts";
import { deriveKey } from "./derive.ts";
import { expiresAtMs, problemOf } from "./identity.ts";

const START = new Date("2026-01-01T00:00:00Z");
const END = new Date("2036-01-01T00:00:00Z");
const secret = Buffer.alloc(32, 7);
const open = (of: string, bytes: Uint8Array = secret): Promise<Authority> =>
  openAuthority({ secret: bytes, of, purpose: "test", name: `run ${of}`, notBefore: START, notAfter: END });
const issue = (authority: Authority, dnsNames: readonly string[], notAfter = END): Promise<Identity> =>
  authority.issue({ name: "pod", dnsNames, notBefore: START, notAfter });

it("one secret and one name give one key; another of either gives another", async () => {
  const [first, again, other, stranger] = await Promise.all([
    open("a"),
    open("a"),
    open("b"),
    open("a", Buffer.alloc(32, 8)),
  ]);
  expect(again.fingerprint).toBe(first.fingerprint);
  expect(new Set([first, other, stranger].map(({ fingerprint }) => fingerprint)).size).toBe(3);
  expect(deriveKey({ secret, of: "a", purpose: "x" }, 32)).not.toEqual(
    deriveKey({ secret, of: "a", purpose: "y" }, 32),
  );
});

it("signs certificates that Node verifies, for these names only", async () => {
  const authority = await open("a");
  const identity = await issue(authority, ["demo-learner.team.svc"]);
  const [leaf, ca] = [new X509Certificate(identity.cert), new X509Certificate(authority.certificate)];
  // What was signed before the authority's certificate was made anew still descends from it.
  const anew = new X509Certificate((await open("a")).certificate);
  expect([ca.ca, leaf.ca]).toEqual([true, false]);
  expect([leaf.verify(ca.publicKey), leaf.checkIssued(ca), leaf.checkIssued(anew)]).toEqual([
    true,
    true,
    true,
  ]);
  expect(leaf.checkHost("demo-learner.team.svc")).toBe("demo-learner.team.svc");
  expect(leaf.checkHost("other-learner.team.svc")).toBe(undefined);
  expect(leaf.validTo).toBe("Jan  1 00:00:00 2036 GMT");
});

it("says what is wrong with an identity", async () => {
  const [authority, now] = [await open("a"), Date.parse("2027-01-01T00:00:00Z")];
  const [identity, other] = [await issue(authority, []), await issue(authority, [])];
  const short = await issue(authority, [], new Date("2026-02-01T00:00:00Z"));
  expect(problemOf(identity, now)).toBe(undefined);
  expect(expiresAtMs(short)).toBe(Date.parse("2026-02-01T00:00:00Z"));
  expect(problemOf(short, now)).toBe("its certificate expired on Feb  1 00:00:00 2026 GMT");
  expect(problemOf(identity, 0)).toMatch(/^its certificate is not valid before/);
  expect(problemOf({ ...identity, key: other.key }, now)).toBe("its key is not that of its certificate");
  expect(problemOf({ ...identity, ca: "text" }, now)).toBe("its authority is no PEM text");
});

/** Whether a server of mutual TLS serves who shows this. */
async function served(server: Identity, client: Partial<Identity>): Promise<boolean> {
  const listener = createServer({ ...server, requestCert: true }, (socket) => socket.end("served"));
  listener.on("tlsClientError", () => undefined);
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  // The type says string for pipes.
  const { port } = listener.address() as AddressInfo;
  const socket: TLSSocket = connect({ ...client, port, host: "127.0.0.1", servername: "demo.svc" });
  try {
    return await new Promise<boolean>((resolve) => {
      const refused = (): void => resolve(false);
      socket
        .on("data", () => resolve(true))
        .on("error", refused)
        .on("close", refused);
    });
  } finally {
    socket.destroy();
    listener.close();
  }
}

it("serves who shows a certificate of the run's authority, and nobody else", async () => {
  const [authority, stranger] = [await open("a"), await open("b")];
  const server = await issue(authority, ["demo.svc"]);
  const { cert, key, ca } = await issue(authority, []);
  const foreign = await issue(stranger, []);
  expect(await served(server, { cert, key, ca })).toBe(true);
  expect(await served(server, { ca })).toBe(false);
  expect(await served(server, { cert: foreign.cert, key: foreign.key, ca })).toBe(false);
  // A server that this client does not trust.
  expect(await served(server, foreign)).toBe(false);
});
