/** Fills the defaults of `data` and `rewards` blocks. Knows no rows and scores nothing. */
import type { ResolvedData, ResolvedFields, ResolvedFileData, ResolvedReward } from "../resolved.ts";
import type { DataSpec, FieldMapSpec, FileDataSpec, HubDataSpec, RewardSpec } from "../run-file.ts";
import type { RewardType } from "../vocabulary.ts";
import type { ScoreShaping } from "../reward-services.ts";
import { fillShaping, isServiceType, SERVICE_BLOCKS } from "./fill-reward-services.ts";
import type { ServiceType } from "./fill-reward-services.ts";
import type { Scope } from "./origins.ts";

const TASK_DIGITS = 2;
/** Deadlines for one sample: of a verifier, of a function that a user wrote, of models, of one call to another process. */
const VERIFIER_TIMEOUT_MS = 1_000;
const TIMEOUTS_MS: { readonly [T in RewardType]?: number } = {
  function: 10_000,
  model: 120_000,
  ensemble: 120_000,
  http: 30_000,
  grpc: 30_000,
  judge: 60_000,
};

export function fillData(data: DataSpec, at: Scope): ResolvedData {
  const type = at.given("type", data.type);
  if (type === "task") {
    const [task, inside] = [data.task, at.inside("task")];
    return {
      type,
      task: {
        name: inside.given("name", task?.name),
        split: inside.fill("split", task?.split, "train"),
        digits: inside.fill("digits", task?.digits, TASK_DIGITS),
        limit: inside.fill("limit", task?.limit, 0),
      },
    };
  }
  if (type === "file") {
    const [file, inside] = [data.file, at.inside("file")];
    const path = inside.given("path", file?.path);
    return {
      type,
      file: { path, format: inside.fill("format", file?.format, "auto"), ...fillTable(file, inside) },
    };
  }
  const [hub, inside] = [data.hub, at.inside("hub")];
  return {
    type,
    hub: {
      dataset: inside.given("dataset", hub?.dataset),
      config: inside.fill("config", hub?.config, ""),
      split: inside.fill("split", hub?.split, "train"),
      ...fillTable(hub, inside),
    },
  };
}

type Table = Omit<ResolvedFileData, "path" | "format">;

function fillTable(table: FileDataSpec | HubDataSpec | undefined, at: Scope): Table {
  return {
    fields: givenFields(table?.fields, at.inside("fields")),
    systemPrompt: at.fill("systemPrompt", table?.systemPrompt, ""),
    chatTemplate: at.fill("chatTemplate", table?.chatTemplate, "auto"),
    limit: at.fill("limit", table?.limit, 0),
    skip: at.fill("skip", table?.skip, 0),
  };
}

/** Only the columns that the user named: the others follow from the rows. */
function givenFields(fields: FieldMapSpec | undefined, at: Scope): ResolvedFields {
  const given = Object.entries(fields ?? {}).filter(([, column]) => column !== undefined);
  return Object.fromEntries(given.map(([part, column]) => [part, at.given(part, column)]));
}

export function fillRewards(rewards: readonly RewardSpec[], at: Scope): ResolvedReward[] {
  return rewards.map((reward, index) => fillReward(reward, at.inside(index)));
}

function fillReward(reward: RewardSpec, at: Scope): ResolvedReward {
  const timeoutMs = TIMEOUTS_MS[reward.type] ?? VERIFIER_TIMEOUT_MS;
  const heldOut = at.fill("heldOut", reward.heldOut, false);
  const head = {
    name: at.given("name", reward.name),
    weight: at.derive("weight", reward.weight, heldOut ? 0 : 1, "heldOut"),
    optional: at.fill("optional", reward.optional, false),
    heldOut,
    timeoutMs: at.fill("timeoutMs", reward.timeoutMs, timeoutMs),
  };
  at.given("type", reward.type);
  const block = isServiceType(reward.type)
    ? SERVICE_BLOCKS[reward.type](reward, at)
    : BLOCKS[reward.type](reward, at.inside(reward.type));
  return { ...head, ...fillShaping(reward, at), ...block };
}

/** A resolved reward without what all kinds share. */
type Block<T extends RewardType> = Omit<
  Extract<ResolvedReward, { type: T }>,
  "name" | "weight" | "optional" | "heldOut" | "timeoutMs" | keyof ScoreShaping
>;

const BLOCKS: {
  readonly [T in Exclude<RewardType, ServiceType>]: (reward: RewardSpec, at: Scope) => Block<T>;
} = {
  exact: ({ exact }, at) => ({
    type: "exact",
    exact: {
      field: at.fill("field", exact?.field, "answer"),
      caseSensitive: at.fill("caseSensitive", exact?.caseSensitive, true),
      trim: at.fill("trim", exact?.trim, true),
    },
  }),
  regex: ({ regex }, at) => ({
    type: "regex",
    regex: { pattern: at.given("pattern", regex?.pattern), flags: at.fill("flags", regex?.flags, "") },
  }),
  contains: ({ contains }, at) => ({
    type: "contains",
    contains: {
      text: at.fill("text", contains?.text, ""),
      field: at.fill("field", contains?.field, "answer"),
      caseSensitive: at.fill("caseSensitive", contains?.caseSensitive, true),
    },
  }),
  numeric: ({ numeric }, at) => ({
    type: "numeric",
    numeric: {
      field: at.fill("field", numeric?.field, "answer"),
      extract: at.fill("extract", numeric?.extract, "last-number"),
      absoluteTolerance: at.fill("absoluteTolerance", numeric?.absoluteTolerance, 0),
      relativeTolerance: at.fill("relativeTolerance", numeric?.relativeTolerance, 1e-6),
    },
  }),
  format: ({ format }, at) => ({ type: "format", format: { tags: at.given("tags", format?.tags) } }),
  length: ({ length }, at) => ({
    type: "length",
    length: {
      unit: at.fill("unit", length?.unit, "tokens"),
      min: at.fill("min", length?.min, 0),
      max: at.given("max", length?.max),
      softness: at.fill("softness", length?.softness, 0),
    },
  }),
  function: (reward, at) => ({
    type: "function",
    function: {
      file: at.given("file", reward.function?.file),
      export: at.fill("export", reward.function?.export, "reward"),
      // Only what the user asked for: a plan without it is the plan that it was.
      ...(reward.function?.deterministic === true
        ? { deterministic: at.given("deterministic", reward.function.deterministic) }
        : {}),
    },
  }),
  model: ({ model }, at) => ({
    type: "model",
    model: {
      from: at.given("from", model?.from),
      // Only what the user asked for: a plan without it is the plan that it was.
      ...(model?.scope === "step"
        ? { scope: at.given("scope", model.scope), stepEnd: at.fill("stepEnd", model.stepEnd, "\n") }
        : {}),
    },
  }),
};
