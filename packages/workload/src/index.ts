/** What a run's plan names, opened: model, data, scorers, engines, policy store, and the surroundings of its processes. */
export { modelParts, openModel, type OpenedModel, type OpenModelOptions } from "./model.ts";
export { openData, type OpenDataOptions } from "./data.ts";
export { type Measured, type RowLengths, rowLengths } from "./row-lengths.ts";
export {
  promptTokens,
  renderingOf,
  type Rendering,
  type TokenizedRanking,
  type TokenizedSteps,
  type TokenizedPrompt,
} from "./tokens.ts";
export { openRunData, type RunData, type RunDataOptions } from "./run-data.ts";
export { type Preferences, type PromptRow, scorerFields, type Split, type StepLabels } from "./rows.ts";
export { openRunScorers, type OpenedScorers, openScorerSet, type RewardModels } from "./scorers.ts";
export type { ScorerSet } from "@oarlock/scoring";
export { saveFinal, saveStageModel } from "./final-model.ts";
export { openRewardModel, type OpenRewardModelOptions, readRewardModel } from "./reward-model.ts";
export {
  trainingEngine,
  openRunGenerator,
  hasCriticsInActors,
  openRunCompanion,
  openRunCritics,
  openRunPolicies,
  openRunTrainer,
  type RunPolicyOptions,
} from "./engines.ts";
export { type BundleEntry, type PackedBundle, entriesOf, packFiles, storeBundle } from "./bundle-pack.ts";
export { bundlesOf, fetchBundles, type FetchOptions } from "./bundle-fetch.ts";
export { createPlanRefusal, type OwnPlan, type PlannedWork, type RefuseOtherPlan } from "./other-plan.ts";
export { publishAnswer } from "./publish-answer.ts";
export { readPlanFile, type PlanFile } from "./plan-file.ts";
export {
  runServiceProcess,
  SERVICE_EXIT,
  type ServiceProcess,
  type ServiceRole,
  type ServingProcess,
} from "./service-process.ts";
export { readServiceConfig, type ServiceConfig } from "./service-config.ts";
export { type CommonFacts, serveService } from "./serve-service.ts";
export { checkTelemetrySettings, openRunTelemetry, type RunTelemetryOptions } from "./run-telemetry.ts";
