/** Who may connect, and how it is proved: TLS, mutual TLS, a bearer token. Without any, only loopback makes sense. */
import { timingSafeEqual } from "node:crypto";
import { OarlockError } from "@oarlock/errors";
import { sha256Hex } from "@oarlock/runtime";
import { type ChannelCredentials, credentials, Metadata, ServerCredentials } from "@grpc/grpc-js";

/** PEM texts of one side. */
export interface TlsOptions {
  /** Authorities that the other side's certificate must descend from. A server with `ca` demands one (mutual TLS). */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name in the server's certificate when it differs from the address. Clients only. */
  readonly serverName?: string;
}

/** Certificate and key are one thing. @internal */
export function serverCredentials(tls: TlsOptions | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const { ca, cert, key } = tls;
  if (cert === undefined || key === undefined) {
    throw new OarlockError("RPC_TLS_INVALID", "a server's TLS needs both a certificate and its key");
  }
  const pair = { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) };
  return ServerCredentials.createSsl(ca === undefined ? null : Buffer.from(ca), [pair], ca !== undefined);
}

/** @internal */
export function channelCredentials(tls: TlsOptions | undefined): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new OarlockError(
      "RPC_TLS_INVALID",
      "a client's certificate and its key are given together or not at all",
    );
  }
  return credentials.createSsl(pem(tls.ca), pem(tls.key), pem(tls.cert));
}

const AUTHORIZATION = "authorization";

/** @internal */
export function withToken(metadata: Metadata, token: string | undefined): Metadata {
  if (token !== undefined && token !== "") metadata.set(AUTHORIZATION, `Bearer ${token}`);
  return metadata;
}

/** @throws OarlockError `RPC_UNAUTHENTICATED`. @internal */
export function checkToken(metadata: Metadata, token: string | undefined): void {
  if (token === undefined) return;
  const [given] = metadata.get(AUTHORIZATION);
  // Digests have one length whatever was sent, so that the comparison takes one time.
  const digest = (text: string): Buffer => Buffer.from(sha256Hex(text), "hex");
  const matches = timingSafeEqual(digest(String(given ?? "")), digest(`Bearer ${token}`));
  if (!matches) throw new OarlockError("RPC_UNAUTHENTICATED", "the call carries no valid bearer token");
}
