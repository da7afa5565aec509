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
import { createCalls } from "./calls.ts";
import { TrainerCore } from "./core.ts";
import type { TrainerMethods } from "./protocol.ts";

/** The trainer's memory has one writer. */
const { inOrder, abortable, abort } = createCalls();
let core: TrainerCore | undefined;

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
  step: abortable(async ({ rows, options }, signal) => opened().step(rows, options, signal)),
  logprobs: abortable(async ({ rows, source, options }, signal) => {
    const found = await opened().logprobs(rows, source, options, signal);
    return withTransfer(found, buffersOf(found));
  }),
  scores: abortable(async ({ rows, options }, signal) => {
    const found = await opened().scores(rows, options, signal);
    return withTransfer(found, buffersOf(found));
  }),
  abort,
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
