/** The thread of `readModel`. */
import { loadModel } from "@oarlock/models";
import { serveWorker, type WorkerMethods } from "@oarlock/runtime";
import type { ReadModelMethods } from "./read-model.ts";

const methods: ReadModelMethods = {
  read: ({ source, baseDir }) => loadModel(source, { baseDir, shared: true }),
} satisfies WorkerMethods<ReadModelMethods>;

serveWorker<ReadModelMethods>(methods);
