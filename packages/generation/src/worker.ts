/** The thread that generates (P1): a `WorkerCore` behind messages. */
import { serveWorker, withTransfer } from "@oarlock/runtime";
import { WorkerCore } from "./worker-core.ts";

const core = new WorkerCore();

serveWorker({
  open: core.open,
  load: core.load,
  async submit(call: Parameters<typeof core.submit>[0]) {
    const completions = await core.submit(call);
    // Both arrays of a completion were made for it alone: they move.
    const buffers = completions.flatMap(({ tokens, logprobs }) => [tokens.buffer, logprobs.buffer]);
    return withTransfer(
      completions,
      buffers.filter((buffer) => buffer instanceof ArrayBuffer),
    );
  },
  cancel: core.cancel,
  stats: core.stats,
  close: core.close,
});
