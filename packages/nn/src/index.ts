/**
 * The Llama family as graphs: parameters in one flat array, the forward pass, initial weights, AdamW, schedules.
 *
 * Training: `const { logprobs, weights } = llamaTraining(graph, { config, batch, length })`, a loss, then
 * `gradients(loss, layout.views.map(({ name }) => weights(name)))`; the gradient of a view lies at the view's place in
 * the flat gradient array.
 */
export { checkConfig } from "./config.ts";
export type { LlamaConfig, LlamaHead, RopeConvention } from "./config.ts";
export { parameterCount, parameterLayout } from "./layout.ts";
export type { Parameter, ParameterLayout, WeightView } from "./layout.ts";
export { initialWeights } from "./init.ts";
export type { NormalSource } from "./init.ts";
export { llamaLogits, llamaStack, rmsNorm } from "./llama/stack.ts";
export type { Attention, AttentionBlock, HeadOptions, StackOptions } from "./llama/stack.ts";
export { declareWeights } from "./llama/weights.ts";
export type { WeightLookup, WeightRole } from "./llama/weights.ts";
export { rotaryInputs, rotaryTables, rotate } from "./llama/rotary.ts";
export type { RotaryTables, Rotation } from "./llama/rotary.ts";
export { causalAttention } from "./llama/causal-attention.ts";
export type { CausalAttentionOptions } from "./llama/causal-attention.ts";
export { tokenLogprobs } from "./llama/token-logprobs.ts";
export type { TokenLogprobs } from "./llama/token-logprobs.ts";
export { scoreWeights, weightsWithHead, withScoreHead } from "./score-head.ts";
export type { ModelWeights } from "./score-head.ts";
export { llamaScores } from "./llama/scores.ts";
export { llamaActorCritic, llamaScoring, llamaTraining } from "./llama/training-graph.ts";
export type { LlamaScoring, LlamaTraining, LlamaTrainingOptions } from "./llama/training-graph.ts";
export {
  ADAMW_FACTORS,
  adamwFactors,
  adamwGraph,
  adamwReference,
  clipScale,
  sumOfSquaresGraph,
} from "./adamw.ts";
export type { AdamwFactors, AdamwSettings, AdamwState } from "./adamw.ts";
export { learningRateAt } from "./schedule.ts";
export type { Schedule, ScheduleKind } from "./schedule.ts";
