/** The worker thread of a trainer: one `TrainerCore`, its methods answered one after another. */
import { OarlockError } from "@oarlock/errors";
import {
  bytesOf,
  serveWorker,
  sha256Hex,
  sharedMemory,
  withTransfer,
  type WorkerMethods,
} from "@oarlock/runtime";
import { createAbortableCalls } from "./abortable.ts";
import { TrainerCore } from "./core.ts";
import { createInOrder } from "./in-order.ts";
import type { TrainerMethods } from "./protocol.ts";

/** The trainer's memory has one writer. */
const inOrder = createInOrder();
let core: TrainerCore | undefined;
const calls = createAbortableCalls();

const opened = (): TrainerCore => {
  if (core === undefined) throw new OarlockError("TRAINING_CLOSED", "the trainer is not open");
  return core;
};

const buffersOf = (arrays: readonly (Float32Array | undefined)[]): ArrayBuffer[] =>
  arrays.flatMap((array) =>
    array !== undefined && array.buffer instanceof ArrayBuffer ? [array.buffer] : [],
  );

const methods: TrainerMethods = {
  open: inOrder(async (options) => {
    core = await TrainerCore.open(options);
  }),
  step: inOrder(({ call, rows, options }) =>
    calls.run(call, (signal) => opened().step(rows, options, signal)),
  ),
  logprobs: inOrder(async ({ call, rows, source, options }) => {
    const found = await calls.run(call, (signal) => opened().logprobs(rows, source, options, signal));
    return withTransfer(found, buffersOf(found));
  }),
  scores: inOrder(async ({ call, rows, options }) => {
    const found = await calls.run(call, (signal) => opened().scores(rows, options, signal));
    return withTransfer(found, buffersOf(found));
  }),
  /** Not in order: it stops the call that runs. */
  abort: ({ call }) => calls.abort(call),
  captureReference: inOrder(() => opened().captureReference()),
  policy: inOrder(() => {
    const copy = new Float32Array(
      sharedMemory(opened().stateFacts().elements * Float32Array.BYTES_PER_ELEMENT),
    );
    opened().copyState("weights", copy);
    return { weights: copy, digest: sha256Hex(bytesOf(copy)) };
  }),
  load: inOrder(({ weights }) => opened().load(weights)),
  stateFacts: inOrder(() => opened().stateFacts()),
  copyState: inOrder(({ array, into }) => opened().copyState(array, into)),
  restore: inOrder((state) => opened().restore(state)),
  resetOptimizer: inOrder(() => opened().resetOptimizer()),
  close: inOrder(async () => {
    await core?.close();
    core = undefined;
  }),
} satisfies WorkerMethods<TrainerMethods>;

serveWorker<TrainerMethods>(methods);
