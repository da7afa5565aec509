/** The gRPC health check by hand, over plain HTTP/2, as a kubelet asks it: no client library of ours to agree with. */
import { connect } from "node:http2";

const TIMEOUT_MS = 2_000;
/** An empty message: no compression, length 0. */
const EMPTY = Buffer.alloc(5);
/** Field 1 (status) = 1 (SERVING). */
const SERVING = Buffer.from([0x08, 0x01]);

/** Whether the server at an address says that it serves. */
export function isServing(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const session = connect(`http://${host}:${port}`);
    const end = (answer: boolean): void => {
      clearTimeout(timer);
      session.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end(false), TIMEOUT_MS);
    session.on("error", () => end(false));
    const stream = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
    });
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    stream.on("error", () => end(false));
    stream.on("end", () => end(Buffer.concat(chunks).subarray(5).equals(SERVING)));
    stream.end(EMPTY);
  });
}
