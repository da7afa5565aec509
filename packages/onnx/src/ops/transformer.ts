/** Fused operators of transformer blocks. Those with a backward rule are used in training, the rest in decoding only. */
import { showShape } from "../shape.ts";
import { expectDType, expectSameDType, type OpDefinition, required } from "./definition.ts";

export interface TransformerAttributes {
  /** RMSNorm over the last axis. Inputs: x, scale. Results: y, 1/rms (last axis 1). */
  SimplifiedLayerNormalization: { readonly epsilon: number };
  /** Inputs: x [B, T, heads·size] or [B, heads, T, size], cos and sin tables [positions, size/2], position ids [B, T]. */
  RotaryEmbedding: { readonly interleaved: 0 | 1; readonly num_heads?: number };
  /** Inputs: cache [B, H, L, S], update [B, H, T, S], write index int64 [B]. Result: the cache with the rows replaced. */
  TensorScatter: { readonly axis: number; readonly mode: "linear" | "circular" };
  /**
   * Inputs: q [B, H, T, S], k and v [B, KV, L, S], mask, past key, past value, valid key count int64 [B].
   * Result: [B, H, T, S].
   */
  Attention: { readonly is_causal: 0 | 1; readonly scale: number };
  /**
   * ONNX Runtime's decoding attention with its cache. Inputs: q [B, T, H·S], k, v [B, T, KV·S], past key and value
   * [B, KV, L, S], last valid index int32 [B], total length int32 scalar. Results: y, present key, present value.
   */
  GroupQueryAttention: {
    readonly num_heads: number;
    readonly kv_num_heads: number;
    readonly scale: number;
  };
}

export const transformer: {
  readonly [Op in keyof TransformerAttributes]: OpDefinition<TransformerAttributes[Op]>;
} = {
  SimplifiedLayerNormalization: {
    domain: "",
    infer(node) {
      const [x, scale] = [required(node, 0), required(node, 1)];
      const width = x.shape.at(-1);
      if (scale.shape.length !== 1 || scale.shape[0] !== width)
        node.fail(`scale ${showShape(scale.shape)} must be [${width}]`);
      return [
        { dtype: expectSameDType(node, [x, scale]), shape: x.shape },
        { dtype: "float32", shape: [...x.shape.slice(0, -1), 1] },
      ];
    },
  },
  RotaryEmbedding: {
    domain: "",
    infer(node) {
      const [x, cos, sin] = [required(node, 0), required(node, 1), required(node, 2)];
      expectDType(node, x, "float32");
      if (x.shape.length !== 3 && x.shape.length !== 4) node.fail("x must have three or four dimensions");
      if (x.shape.length === 3 && !node.attributes.num_heads) node.fail("three dimensions need num_heads");
      expectSameDType(node, [x, cos, sin]);
      return [{ dtype: x.dtype, shape: x.shape }];
    },
  },
  TensorScatter: {
    domain: "",
    infer(node) {
      const [cache, update] = [required(node, 0), required(node, 1)];
      if (cache.shape.length !== update.shape.length) node.fail("cache and update must have equal ranks");
      return [{ dtype: expectSameDType(node, [cache, update]), shape: cache.shape }];
    },
  },
  Attention: {
    domain: "",
    infer(node) {
      const [q, k, v] = [required(node, 0), required(node, 1), required(node, 2)];
      if ([q, k, v].some((value) => value.shape.length !== 4))
        node.fail("q, k and v must have four dimensions");
      return [{ dtype: expectSameDType(node, [q, k, v]), shape: q.shape }];
    },
  },
  GroupQueryAttention: {
    domain: "com.microsoft",
    infer(node) {
      const [q, pastKey, pastValue] = [required(node, 0), required(node, 3), required(node, 4)];
      return [q, pastKey, pastValue].map(({ dtype, shape }) => ({ dtype, shape }));
    },
  },
};
