/**
 * Loopback addresses for pods that are processes. Several kubelets may run on one machine, so each claims a block of its own,
 * 127.N.0.0/16: whoever listens on the block's first address owns it.
 */
import { createServer, type Server } from "node:net";
import { OarlockError } from "@oarlock/errors";

export interface PodAddresses {
  /** An address that no other pod has. */
  next(): string;
  /** Gives the block back. */
  release(): void;
}

const FIRST_BLOCK = 64;
const LAST_BLOCK = 191;
const CLAIM_PORT = 50_050;

/** Claims the first block that is free. */
export async function claimPodAddresses(): Promise<PodAddresses> {
  for (let block = FIRST_BLOCK; block <= LAST_BLOCK; block++) {
    const claim = await listen(`127.${block}.0.1`);
    if (claim === undefined) continue;
    claim.unref();
    let number = 0;
    return {
      next: () => `127.${block}.${Math.floor(++number / 250)}.${(number % 250) + 2}`,
      release: () => void claim.close(),
    };
  }
  throw new OarlockError(
    "TESTKIT_ADDRESSES",
    `every block 127.${FIRST_BLOCK}.0.0 to 127.${LAST_BLOCK}.0.0 is taken`,
  );
}

/** Undefined where somebody else listens there. */
function listen(host: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(undefined) : reject(error),
    );
    server.listen(CLAIM_PORT, host, () => resolve(server));
  });
}
