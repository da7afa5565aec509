/** A TCP proxy that treats connections badly: bytes arrive late, and connections are cut. It does not know what is said. */
import { createConnection, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { onTestFinished } from "vitest";

export interface FaultProxyOptions {
  /** On loopback. */
  readonly targetPort: number;
  /** How late the next piece of bytes arrives; pieces of one direction keep their order. */
  readonly delayMs: () => number;
}

export interface FaultProxy {
  readonly port: number;
  /** Connections now. */
  readonly open: number;
  /** Ends every connection without a word, in mid-message if need be. */
  cut(): void;
}

/** Listens on loopback until the test ends. */
export async function startFaultProxy({ targetPort, delayMs }: FaultProxyOptions): Promise<FaultProxy> {
  const sockets = new Set<Socket>();
  const pass = (from: Socket, to: Socket): void => {
    let last = Promise.resolve();
    from.on("data", (piece) => {
      const due = performance.now() + delayMs();
      last = last.then(async () => {
        const leftMs = due - performance.now();
        if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, leftMs));
        if (!to.destroyed) to.write(piece);
      });
    });
    const end = (): void => void (from.destroy(), to.destroy());
    from.on("close", end).on("error", end);
  };
  const server = createServer((client) => {
    const target = createConnection(targetPort, "127.0.0.1");
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    }
    pass(client, target);
    pass(target, client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(() => {
    server.close();
    cut();
  });
  return {
    port: (server.address() as AddressInfo).port,
    get open() {
      return sockets.size / 2;
    },
    cut,
  };
}
