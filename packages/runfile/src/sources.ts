/**
 * What a run file reads besides itself: model, tokenizer, data, reward functions and models, authorities of scorers. Where each is named,
 * how it may be changed for what a pod can read, and where a pod finds it. Pure: it opens nothing.
 */
import type { DataSpec, EvaluationSpec, RewardSpec, RunSpec, StageSpec } from "./run-file.ts";
import { isStageResult } from "./stage-parts.ts";
import type { RoleName } from "./vocabulary.ts";

/** One place that names something to read. */
export interface SourceUse {
  readonly kind: "model" | "tokenizer" | "data" | "function" | "scorer" | "authority";
  /** A path, `hf://…`, `bundle://sha256-…/…`, `configmap://name/key` or `pvc://claim/path`. */
  readonly reference: string;
}

/** Who reads what: everybody decodes, the learner alone has the rows, reward workers alone run functions and call services. */
const READERS: Readonly<Record<SourceUse["kind"], readonly RoleName[]>> = {
  model: ["learner", "actor", "reward"],
  tokenizer: ["learner", "actor", "reward"],
  data: ["learner"],
  function: ["reward"],
  // The learner hands the weights on, as those of the models that it trains.
  scorer: ["learner"],
  authority: ["reward"],
};

/** What processes of these roles read. */
export function sourcesReadBy(spec: RunSpec, roles: readonly RoleName[]): readonly SourceUse[] {
  return sourcesOf(spec).filter(({ kind }) => READERS[kind].some((reader) => roles.includes(reader)));
}

type Change = (use: SourceUse) => string;

/** The spec with every reference changed; what names nothing stays the same object. */
export function mapSources(spec: RunSpec, change: Change): RunSpec {
  const { model, stages, evaluation } = spec;
  return {
    ...spec,
    model: modelWith(model, change),
    stages: stages.map((stage) => stageWith(stage, change)),
    ...(evaluation === undefined ? {} : { evaluation: partsWith(evaluation, change) }),
  };
}

/** Every reference of a spec, in order. */
export function sourcesOf(spec: RunSpec): readonly SourceUse[] {
  const uses: SourceUse[] = [];
  mapSources(spec, (use) => {
    uses.push(use);
    return use.reference;
  });
  return uses;
}

function modelWith(model: RunSpec["model"], change: Change): RunSpec["model"] {
  if (model.from !== undefined) return { from: change({ kind: "model", reference: model.from }) };
  const file = model.init?.tokenizer.file;
  if (model.init === undefined || file === undefined) return model;
  const path = change({ kind: "tokenizer", reference: file.path });
  return { init: { ...model.init, tokenizer: { ...model.init.tokenizer, file: { path } } } };
}

function stageWith(stage: StageSpec, change: Change): StageSpec {
  const block = stage[stage.type];
  if (block === undefined) return stage;
  const parts = partsWith(block, change);
  const { ptx } = stage.ppo ?? {};
  const mixed = ptx === undefined ? {} : { ptx: { ...ptx, data: dataWith(ptx.data, change) } };
  return { ...stage, [stage.type]: { ...parts, ...mixed } };
}

/** A block with data, and rewards where it has some. */
function partsWith<B extends { readonly data: DataSpec; readonly rewards?: EvaluationSpec["rewards"] }>(
  block: B,
  change: Change,
): B {
  const { data, rewards } = block;
  return {
    ...block,
    data: dataWith(data, change),
    ...(rewards === undefined ? {} : { rewards: rewards.map((reward) => rewardWith(reward, change)) }),
  };
}

function dataWith(data: DataSpec, change: Change): DataSpec {
  const { file, hub } = data;
  if (file !== undefined)
    return { ...data, file: { ...file, path: change({ kind: "data", reference: file.path }) } };
  if (hub === undefined) return data;
  return { ...data, hub: { ...hub, dataset: change({ kind: "data", reference: hub.dataset }) } };
}

function rewardWith(reward: RewardSpec, change: Change): RewardSpec {
  const { function: code, service } = reward;
  const caFile = service?.tls?.caFile;
  if (caFile !== undefined) {
    // Certificates and keys of ours are secrets: they are mounted, and never packed.
    const tls = { ...service?.tls, caFile: change({ kind: "authority", reference: caFile }) };
    return { ...reward, service: { ...service, tls } };
  }
  if (code !== undefined)
    return { ...reward, function: { ...code, file: change({ kind: "function", reference: code.file }) } };
  const scorer = (from: string): string =>
    isStageResult(from) ? from : change({ kind: "scorer", reference: from });
  const { model, ensemble } = reward;
  if (model !== undefined) return { ...reward, model: { ...model, from: scorer(model.from) } };
  if (ensemble === undefined) return reward;
  return { ...reward, ensemble: { ...ensemble, from: ensemble.from.map(scorer) } };
}

/** A reference that names something inside of a cluster. */
export type ClusterSource =
  | { readonly scheme: "bundle"; readonly digest: string; readonly path: string }
  | { readonly scheme: "configmap" | "pvc"; readonly name: string; readonly path: string };

const BUNDLE = /^bundle:\/\/sha256-([0-9a-f]{64})\/(.+)$/;
/** Objects of the run's namespace; a ConfigMap has no folders. */
const NAMED = [
  ["configmap", /^configmap:\/\/([a-z0-9]([-a-z0-9.]*[a-z0-9])?)\/([-._a-zA-Z0-9]+)$/],
  ["pvc", /^pvc:\/\/([a-z0-9]([-a-z0-9.]*[a-z0-9])?)\/(.+)$/],
] as const;

/** Reads a reference; undefined where it is none of a cluster's. */
export function clusterSource(reference: string): ClusterSource | undefined {
  const [, digest, inBundle] = BUNDLE.exec(reference) ?? [];
  if (digest !== undefined && inBundle !== undefined && isConfined(inBundle))
    return { scheme: "bundle", digest, path: inBundle };
  for (const [scheme, pattern] of NAMED) {
    const [, name, , path] = pattern.exec(reference) ?? [];
    if (name !== undefined && path !== undefined && isConfined(path)) return { scheme, name, path };
  }
  return undefined;
}

/** The reference to a path in the bundle of this digest. */
export function bundleReference(digest: string, path: string): string {
  return `bundle://sha256-${digest}/${path}`;
}

/** Whether a path stays in the folder that it is relative to. */
export function isConfined(path: string): boolean {
  return (
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..") && !path.includes("\\")
  );
}

/** Where it lies, relative to the folder of a run's sources; other references are paths or addresses already. */
export function sourcePath(reference: string): string {
  const source = clusterSource(reference);
  if (source === undefined) return reference;
  const home = source.scheme === "bundle" ? source.digest : source.name;
  return `${source.scheme}/${home}/${source.path}`;
}
