/** How a thread that blocks learns of its worker, which answers or ends. */
import { expect, onTestFinished, test } from "vitest";
import { ENDED, REPLIES } from "./protocol.ts";
import { startBindingWorker, type BindingWorker } from "./worker-client.ts";

/** A worker whose answers `serve` makes, a statement over `port`, `id` and `request`; its end is the real one's. */
function startWith(serve: string): BindingWorker {
  const source = `
    import { workerData } from "node:worker_threads";
    const { port } = workerData;
    const progress = new Int32Array(workerData.progress);
    const wake = () => { Atomics.add(progress, ${REPLIES}, 1); Atomics.notify(progress, ${REPLIES}); };
    process.once("exit", () => { Atomics.store(progress, ${ENDED}, 1); wake(); });
    port.on("message", ({ id, request }) => { ${serve} });`;
  const worker = startBindingWorker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
  onTestFinished(() => worker.close());
  return worker;
}

const close = { type: "close", session: 1 } as const;
const answer = 'port.postMessage({ id, reply: { type: "closed" } });';

test("a blocking request takes its reply, also the last one before the worker's end", () => {
  expect(startWith(`${answer} wake();`).askSync(close, [])).toEqual({ type: "closed" });
  expect(startWith(`${answer} process.exit();`).askSync(close, [])).toEqual({ type: "closed" });
});

test("L1: a blocking request fails where the worker ends without a reply", () => {
  expect(() => startWith("process.exit();").askSync(close, [])).toThrow(/ORT_WORKER_DIED/);
  expect(() => startWith('throw new Error("lost");').askSync(close, [])).toThrow(/ORT_WORKER_DIED/);
});
