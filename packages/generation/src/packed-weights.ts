/**
 * The weights as the decode graph wants them: nn's views of the flat array, with head sizes padded to what the fused
 * attention kernel takes. No number changes, there are zeros between them at most, so the result belongs to the flat
 * weights' digest. (The scales of q/k norms over padded heads are the exception; see `headNorm`.)
 *
 * It knows nothing of sessions.
 */
import { type LlamaConfig, parameterLayout, type WeightView } from "@oarlock/nn";

/** ONNX Runtime's GroupQueryAttention takes head sizes that are multiples of this (of 16 where it rotates them itself). */
const HEAD_SIZE_MULTIPLE = 8;

export interface PackedWeight {
  readonly name: string;
  readonly shape: readonly number[];
  /** Writes the packed form of the flat weights. */
  readonly fill: (flat: Float32Array, into: Float32Array) => void;
}

/** The head size in the cache and in the packed matrices. */
export function paddedHeadSize(config: LlamaConfig): number {
  return Math.ceil(config.headSize / HEAD_SIZE_MULTIPLE) * HEAD_SIZE_MULTIPLE;
}

/** Where element `i` of a head lies in the padded head: the halves that are rotated against each other stay halves. */
function placeInHead(config: LlamaConfig, i: number): number {
  if (config.ropeConvention === "interleaved") return i;
  const half = config.headSize / 2;
  return (i % half) + Math.floor(i / half) * (paddedHeadSize(config) / 2);
}

/** Every packed weight, under the name of its view. */
export function packedWeights(config: LlamaConfig): readonly PackedWeight[] {
  return parameterLayout(config).views.map((view) => {
    const pack = packings[view.name.replace(/^layer\d+\./, "")];
    return pack
      ? pack(config, view)
      : { name: view.name, shape: view.shape, fill: (flat, into) => into.set(part(flat, view)) };
  });
}

type Packing = (config: LlamaConfig, view: WeightView) => PackedWeight;

/** By short name; every other view is taken as it is. */
const packings: Readonly<Record<string, Packing>> = {
  qkv: (config, view) => headRows(config, view, [config.hiddenSize]),
  qkvBias: (config, view) => headRows(config, view, []),
  qNorm: headNorm,
  kNorm: headNorm,
  output: headColumns,
};

const part = (flat: Float32Array, { offset, size }: WeightView): Float32Array =>
  flat.subarray(offset, offset + size);

/** Rows of q, k and v, one below the other, each head padded; heads of values at their end. */
function headRows(config: LlamaConfig, view: WeightView, rowShape: readonly number[]): PackedWeight {
  const { heads, kvHeads, headSize } = config;
  const padded = paddedHeadSize(config);
  const [width = 1] = rowShape;
  const count = heads + 2 * kvHeads;
  return {
    name: view.name,
    shape: [count * padded, ...rowShape],
    fill(flat, into) {
      const data = part(flat, view);
      for (let head = 0; head < count; head++) {
        const rotated = head < heads + kvHeads;
        for (let i = 0; i < headSize; i++) {
          const from = (head * headSize + i) * width;
          into.set(
            data.subarray(from, from + width),
            (head * padded + (rotated ? placeInHead(config, i) : i)) * width,
          );
        }
      }
    },
  };
}

/** The output projection reads padded heads: columns of zeros where nothing is. */
function headColumns(config: LlamaConfig, view: WeightView): PackedWeight {
  const { heads, headSize, hiddenSize } = config;
  const padded = paddedHeadSize(config);
  return {
    name: view.name,
    shape: [hiddenSize, heads * padded],
    fill(flat, into) {
      const data = part(flat, view);
      for (let block = 0; block < hiddenSize * heads; block++) {
        into.set(data.subarray(block * headSize, (block + 1) * headSize), block * padded);
      }
    },
  };
}

/**
 * The scale of an RMSNorm over a padded head: the mean runs over `padded` elements instead of `headSize`, so that
 * scale · √(size/padded) with epsilon · size/padded gives the same values.
 */
function headNorm(config: LlamaConfig, view: WeightView): PackedWeight {
  const padded = paddedHeadSize(config);
  const factor = Math.sqrt(config.headSize / padded);
  return {
    name: view.name,
    shape: [padded],
    fill(flat, into) {
      const data = part(flat, view);
      for (let i = 0; i < config.headSize; i++) into[placeInHead(config, i)] = (data[i] ?? 0) * factor;
    },
  };
}
