/** Channels to learners: one while a run's learner serves, none once it does not. */
import type { openChannel, RpcChannel } from "@oarlock/rpc";
import { expect, test } from "vitest";
import type { Pod } from "./api.ts";
import { createLearnerClient } from "./learner-client.ts";

/** Channels to learners that answer as they are told to, and what was opened and closed, in order. */
function recorded(getRunStatus: () => Promise<object>) {
  const events: string[] = [];
  const open = (address: string): RpcChannel => {
    const [ip] = address.split(":");
    events.push(`open ${ip}`);
    const close = (): void => void events.push(`close ${ip}`);
    const client = { getRunStatus, checkpointNow: async () => ({}) };
    return { address, close, client: () => client, [Symbol.dispose]: close } as unknown as RpcChannel;
  };
  return { events, learners: createLearnerClient(open as typeof openChannel) };
}

const ready = (podIP: string): Pod =>
  ({ metadata: {}, status: { podIP, conditions: [{ type: "Ready", status: "True" }] } }) as unknown as Pod;
const answers = async (): Promise<object> => ({ run: undefined });

test("a run has one channel, which follows its pod and ends with it", async () => {
  const { events, learners } = recorded(answers);
  for (const ip of ["10.0.0.1", "10.0.0.1", "10.0.0.2"]) await learners.ask("a/x", [ready(ip)]);
  await learners.ask("a/y", [ready("10.0.0.3")]);
  expect(events.splice(0)).toEqual(["open 10.0.0.1", "close 10.0.0.1", "open 10.0.0.2", "open 10.0.0.3"]);
  await learners.ask("a/x", []);
  learners.forget("a/y");
  expect(events.splice(0)).toEqual(["close 10.0.0.2", "close 10.0.0.3"]);
  learners.close();
  expect(events).toEqual([]);
});

test("one that does not answer is asked on a new channel, and a checkpoint has a channel of its own", async () => {
  const { events, learners } = recorded(() => Promise.reject(new Error("no")));
  await learners.ask("a/x", [ready("10.0.0.1")]);
  expect(await learners.checkpoint([ready("10.0.0.1")])).toBe(true);
  expect(events).toEqual(["open 10.0.0.1", "close 10.0.0.1", "open 10.0.0.1", "close 10.0.0.1"]);
});
