/**
 * Whether the server that a scorer is called at is one that we trust: a TLS handshake before the run starts, over which nothing
 * is sent. Who is not there yet is waited for later; who is there with a certificate of somebody else is refused now (X1).
 */
import { isIP } from "node:net";
import { connect } from "node:tls";
import { OarlockError } from "@oarlock/errors";
import type { TlsOptions } from "@oarlock/rpc";

const HANDSHAKE_TIMEOUT_MS = 3_000;
const HTTPS_PORT = 443;

export interface TrustCheck {
  /** `https://…`, or `host:port`. */
  readonly address: string;
  readonly tls: TlsOptions;
  /** The scorer, for the message. */
  readonly name: string;
}

/** Throws `SCORER_TLS_UNTRUSTED`, naming the field. */
export async function checkTrust({ address, tls, name }: TrustCheck): Promise<void> {
  const isUrl = address.startsWith("https://");
  const { hostname, port } = new URL(isUrl ? address : `https://${address}`);
  const host = hostname.replaceAll(/^\[|\]$/g, "");
  const fault = await handshakeFault({ host, port: Number(port) || HTTPS_PORT, tls, isGrpc: !isUrl });
  if (fault === undefined) return;
  const isName = fault === "ERR_TLS_CERT_ALTNAME_INVALID";
  const field = isName ? "serverName" : "caFile";
  const accepted = isName ? "a name that its certificate has" : "the authority of its certificate, as PEM";
  throw new OarlockError(
    "SCORER_TLS_UNTRUSTED",
    `reward ${name}: service.tls.${field}: the certificate of ${host}:${port || HTTPS_PORT} is not trusted (${fault}); accepted: ${accepted}`,
  );
}

interface Handshake {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsOptions;
  readonly isGrpc: boolean;
}

/** Why the certificate is not trusted; undefined where it is, or where nobody answers. */
function handshakeFault({ host, port, tls, isGrpc }: Handshake): Promise<string | undefined> {
  const { serverName, ...pems } = tls;
  const servername = serverName ?? (isIP(host) === 0 ? host : undefined);
  return new Promise((resolve) => {
    const socket = connect({
      host,
      port,
      ...pems,
      ...(servername === undefined ? {} : { servername }),
      ...(isGrpc ? { ALPNProtocols: ["h2"] } : {}),
      // The verdict is asked for below, so that it can be told from an absent server.
      rejectUnauthorized: false,
    });
    const end = (fault?: string): void => {
      socket.destroy();
      resolve(fault);
    };
    socket.setTimeout(HANDSHAKE_TIMEOUT_MS, () => end());
    socket.once("error", () => end());
    socket.once("secureConnect", () =>
      end(socket.authorized ? undefined : String(socket.authorizationError)),
    );
  });
}
