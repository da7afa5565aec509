/** Calls of a worker thread: one at a time, and which of them an abort reaches. */
import { expect, test } from "vitest";
import { createCalls, pause } from "./calls.ts";

interface Request {
  readonly call: number;
  /** Runs of the engine. */
  readonly runs: number;
}

/** A server whose calls tell when they run. */
function serve() {
  const calls = createCalls();
  const told: string[] = [];
  const work = async (call: number | string, runs: number, signal?: AbortSignal): Promise<void> => {
    for (let run = 0; run < runs; run++) {
      await (signal === undefined ? Promise.resolve() : pause(signal));
      told.push(`${call}.${run}`);
    }
  };
  const plain = calls.inOrder((name: string) => work(name, 2));
  const named = calls.abortable(({ call, runs }: Request, signal) => work(call, runs, signal));
  return { ...calls, told, plain, named };
}

test("one ends before the next begins, also where it fails", async () => {
  const { named, plain, abort, told } = serve();
  const first = named({ call: 1, runs: 2 });
  const failed = named({ call: 2, runs: 1 });
  const last = plain("last");
  abort({ call: 2 });
  await expect(failed).rejects.toMatchObject({ code: "TRAINING_ABORTED" });
  await Promise.all([first, last]);
  expect(told).toEqual(["1.0", "1.1", "last.0", "last.1"]);
});

test("an abort stops the call that it names, whether it runs or waits for its turn", async () => {
  const { named, abort, told } = serve();
  const running = named({ call: 1, runs: 1000 });
  const waiting = named({ call: 2, runs: 1 });
  const other = named({ call: 3, runs: 1 });
  abort({ call: 2 });
  setImmediate(() => abort({ call: 1 }));
  await expect(running).rejects.toMatchObject({ code: "TRAINING_ABORTED" });
  await expect(waiting).rejects.toMatchObject({ code: "TRAINING_ABORTED" });
  await other;
  expect(told.filter((run) => !run.startsWith("1."))).toEqual(["3.0"]);
  abort({ call: 3 }); // is over
});
