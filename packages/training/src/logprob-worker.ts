/** The worker thread of a log-prob model. */
import { OarlockError } from "@oarlock/errors";
import { serveWorker, type WorkerMethods } from "@oarlock/runtime";
import { createInOrder } from "./in-order.ts";
import { openLogprobCore, type LogprobCore } from "./logprob-core.ts";
import type { LogprobModelMethods } from "./logprob-model.ts";

const inOrder = createInOrder();
let core: LogprobCore | undefined;

const methods: LogprobModelMethods = {
  open: inOrder(async (options) => {
    core = await openLogprobCore(options);
  }),
  logprobs: inOrder(async ({ completed, call }) => {
    if (core === undefined) throw new OarlockError("TRAINING_CLOSED", "the log-prob model is not open");
    return core.logprobs(completed, call);
  }),
  close: inOrder(async () => {
    await core?.close();
    core = undefined;
  }),
} satisfies WorkerMethods<LogprobModelMethods>;

serveWorker<LogprobModelMethods>(methods);
