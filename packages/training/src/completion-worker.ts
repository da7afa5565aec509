/** The worker thread of a completion model. */
import { OarlockError } from "@oarlock/errors";
import { serveWorker, type WorkerMethods } from "@oarlock/runtime";
import { createAbortableCalls } from "./abortable.ts";
import { createInOrder } from "./in-order.ts";
import { openCompletionCore, type CompletionCore } from "./completion-core.ts";
import type { CompletionModelMethods, PerTokenRequest } from "./completion-model.ts";

const inOrder = createInOrder();
const calls = createAbortableCalls();
let core: CompletionCore | undefined;

const perToken = inOrder(
  async ({ completed, options, signal }: PerTokenRequest & { readonly signal: AbortSignal }) => {
    if (core === undefined) throw new OarlockError("TRAINING_CLOSED", "the completion model is not open");
    return core.perToken(completed, options, signal);
  },
);

const methods: CompletionModelMethods = {
  open: inOrder(async (options) => {
    core = await openCompletionCore(options);
  }),
  // Named from when it comes: one that waits for its turn can be stopped too.
  perToken: (request: PerTokenRequest) =>
    calls.run(request.call, (signal) => perToken({ ...request, signal })),
  /** Not in order: it stops the call that runs. */
  abort: ({ call }) => calls.abort(call),
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
