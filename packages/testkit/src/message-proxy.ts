/**
 * A TCP proxy that knows where messages of the NATS protocol begin and end, and loses or doubles those that a test points
 * at: what is published, acknowledged or delivered. It does not know what is in them.
 */
import { createConnection, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { onTestFinished } from "vitest";

export type Fate = "pass" | "lose" | "double";

export interface MessageProxyOptions {
  /** On loopback. */
  readonly targetPort: number;
  /** Asked for every message, in either direction. */
  readonly fate: (message: { readonly subject: string; readonly to: "server" | "client" }) => Fate;
}

/** Operations that carry a payload; their last word is its length. */
const WITH_PAYLOAD = /^H?(PUB|MSG) (\S+) (?:.* )?(\d+)$/i;
const LINE_END = Buffer.from("\r\n");
const REPEATS: Readonly<Record<Fate, number>> = { lose: 0, pass: 1, double: 2 };

/** Listens on loopback until the test ends; gives its port. */
export async function startMessageProxy({ targetPort, fate }: MessageProxyOptions): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const target = createConnection(targetPort, "127.0.0.1");
    for (const socket of [client, target]) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    }
    pass(client, target, (subject) => fate({ subject, to: "server" }));
    pass(target, client, (subject) => fate({ subject, to: "client" }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

function pass(from: Socket, to: Socket, fate: (subject: string) => Fate): void {
  let rest = Buffer.alloc(0);
  from.on("data", (piece: Buffer) => {
    rest = Buffer.concat([rest, piece]);
    for (let frame = firstFrame(rest); frame !== undefined; frame = firstFrame(rest)) {
      const bytes = rest.subarray(0, frame.length);
      rest = rest.subarray(frame.length);
      const times = REPEATS[frame.subject === undefined ? "pass" : fate(frame.subject)];
      for (let time = 0; time < times && !to.destroyed; time++) to.write(bytes);
    }
  });
  const end = (): void => void (from.destroy(), to.destroy());
  from.on("close", end).on("error", end);
}

/** The first whole operation of the bytes; its subject where it is a message. */
function firstFrame(bytes: Buffer): { readonly length: number; readonly subject?: string } | undefined {
  const lineEnd = bytes.indexOf(LINE_END);
  if (lineEnd < 0) return undefined;
  const head = lineEnd + LINE_END.length;
  const [, , subject, size] = WITH_PAYLOAD.exec(bytes.toString("latin1", 0, lineEnd)) ?? [];
  if (subject === undefined) return { length: head };
  const length = head + Number(size) + LINE_END.length;
  return bytes.length < length ? undefined : { length, subject };
}
