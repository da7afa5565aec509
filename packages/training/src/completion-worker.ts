/** The worker thread of a completion model. */
import { OarlockError } from "@oarlock/errors";
import { serveWorker, type WorkerMethods } from "@oarlock/runtime";
import { createInOrder } from "./in-order.ts";
import { openCompletionCore, type CompletionCore } from "./completion-core.ts";
import type { CompletionModelMethods } from "./completion-model.ts";

const inOrder = createInOrder();
let core: CompletionCore | undefined;

const methods: CompletionModelMethods = {
  open: inOrder(async (options) => {
    core = await openCompletionCore(options);
  }),
  perToken: inOrder(async ({ completed, call }) => {
    if (core === undefined) throw new OarlockError("TRAINING_CLOSED", "the completion model is not open");
    return core.perToken(completed, call);
  }),
  load: inOrder(({ weights }) => {
    if (core === undefined) throw new OarlockError("TRAINING_CLOSED", "the completion model is not open");
    core.load(weights);
  }),
  close: inOrder(async () => {
    await core?.close();
    core = undefined;
  }),
} satisfies WorkerMethods<CompletionModelMethods>;

serveWorker<CompletionModelMethods>(methods);
