/** The worker thread of a completion model. */
import { OarlockError } from "@oarlock/errors";
import { serveWorker, type WorkerMethods } from "@oarlock/runtime";
import { createCalls } from "./calls.ts";
import { openCompletionCore, type CompletionCore } from "./completion-core.ts";
import type { CompletionModelMethods } from "./completion-model.ts";

const { inOrder, abortable, abort } = createCalls();
let core: CompletionCore | undefined;

const opened = (): CompletionCore => {
  if (core === undefined) throw new OarlockError("TRAINING_CLOSED", "the completion model is not open");
  return core;
};

const methods: CompletionModelMethods = {
  open: inOrder(async (options) => {
    core = await openCompletionCore(options);
  }),
  perToken: abortable(async ({ completed, options }, signal) =>
    opened().perToken(completed, options, signal),
  ),
  abort,
  load: inOrder(({ weights }) => opened().load(weights)),
  close: inOrder(async () => {
    await core?.close();
    core = undefined;
  }),
} satisfies WorkerMethods<CompletionModelMethods>;

serveWorker<CompletionModelMethods>(methods);
