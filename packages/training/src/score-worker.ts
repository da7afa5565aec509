/** The worker thread of a reward model: its calls answered one after another. */
import { OarlockError } from "@oarlock/errors";
import { serveWorker, type WorkerMethods } from "@oarlock/runtime";
import { createCalls } from "./calls.ts";
import { openScoreCore, type ScoreCore } from "./score-core.ts";
import type { ScoreModelMethods } from "./score-model.ts";

const { inOrder } = createCalls();
let core: ScoreCore | undefined;

const methods: ScoreModelMethods = {
  open: inOrder(async (options) => {
    core = await openScoreCore(options);
  }),
  score: inOrder(async ({ texts, places }) => {
    if (core === undefined) throw new OarlockError("TRAINING_CLOSED", "the score model is not open");
    return core.score(texts, places);
  }),
  close: inOrder(async () => {
    await core?.close();
    core = undefined;
  }),
} satisfies WorkerMethods<ScoreModelMethods>;

serveWorker<ScoreModelMethods>(methods);
