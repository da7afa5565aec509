/** The thread of `readModel`. */
import { serveWorker, type WorkerMethods } from "@oarlock/runtime";
import type { ReadModelMethods } from "./read-model.ts";
import { openRewardModel } from "./reward-model.ts";

const methods: ReadModelMethods = {
  read: ({ source, baseDir, policy }) => openRewardModel(source, { baseDir, policy, shared: true }),
} satisfies WorkerMethods<ReadModelMethods>;

serveWorker<ReadModelMethods>(methods);
