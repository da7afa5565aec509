/**
 * How late the event loop of a thread that does nothing is: what the machine itself takes while others compete for its cores.
 * P1 is about what a service adds to that, so a bound on a loop's delay is a bound on top of it.
 */
import { Worker } from "node:worker_threads";
import { onTestFinished } from "vitest";

const IDLE = `
const { monitorEventLoopDelay } = require("node:perf_hooks");
const { parentPort } = require("node:worker_threads");
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
parentPort.on("message", () => parentPort.postMessage(delay.max / 1e6));
parentPort.postMessage("ready");
`;

export interface IdleLoop {
  /** The longest delay so far, in ms. */
  maxMs(): Promise<number>;
}

/** Watches an idle thread until the running test ends. */
export async function watchIdleLoop(): Promise<IdleLoop> {
  const worker = new Worker(IDLE, { eval: true });
  onTestFinished(async () => void (await worker.terminate()));
  const next = (): Promise<unknown> => new Promise((resolve) => worker.once("message", resolve));
  await next();
  return {
    async maxMs() {
      const answer = next();
      worker.postMessage("read");
      return Number(await answer);
    },
  };
}
