export { metricsLine, parseMetrics, parseSamples, sampleLine, samplesIn } from "./records.ts";
export type { AlarmRecord, EvaluationTime, MetricsRecord, SampleRecord } from "./records.ts";
export { spreadOf, summarize } from "./summary.ts";
export type {
  AlarmSummary,
  EvaluationSummary,
  PolicyIdentity,
  RunStatus,
  RunSummary,
  Spread,
  StageSummary,
  SummaryInput,
} from "./summary.ts";
export { evaluationValues } from "./evaluation-metrics.ts";
export type { EvaluationValue } from "./evaluation-metrics.ts";
export { eventFileHeader, eventFileName, scalarRecord, sessionStart } from "./tensorboard/events.ts";
export type { ScalarEvent } from "./tensorboard/events.ts";
export { COLOR, clip, PLAIN, safeText, unmarked } from "./terminal/style.ts";
export type { TextStyle } from "./terminal/style.ts";
export {
  formatNumber,
  HISTORY,
  metricOf,
  progressLine,
  shortDuration,
  sparkline,
  stepLine,
  trendOf,
} from "./terminal/progress.ts";
export type { Progress } from "./terminal/progress.ts";
export { pairSamples, renderPairs, renderSample } from "./terminal/samples.ts";
export type { SamplePair } from "./terminal/samples.ts";
export { renderReport } from "./html/page.ts";
export type { PlanRow, ReportInput } from "./html/page.ts";
