/** Rules of the fused transformer operators. Those of decoding only are refused, with what to use instead. */
import {
  matMul,
  mul,
  neg,
  reduceSum,
  reshape,
  sub,
  type TransformerAttributes,
  type Value,
} from "@oarlock/onnx";
import { OarlockError } from "@oarlock/errors";
import { refused, type Rule, rule, type Step } from "../rule.ts";

/** Everything that RMSNorm's two gradients share. With x̂ = x · r, r = 1/rms: y = x̂ · scale. */
function rmsParts(step: Step<unknown>): { dy: Value; normalized: Value; inverse: Value; scale: Value } {
  const [x, scale, inverse] = [step.input(0), step.input(1), step.outputs[1]];
  if (!inverse || step.gradient(1)) {
    throw new OarlockError(
      "AUTODIFF_RULE",
      "1/rms of SimplifiedLayerNormalization is for its own gradient only",
    );
  }
  return { dy: step.dy(), normalized: mul(x, inverse), inverse, scale };
}

export const transformer: { readonly [Op in keyof TransformerAttributes]: Rule<TransformerAttributes[Op]> } =
  {
    // dx = r · (dy·scale − x̂ · mean(dy·x̂·scale)); dscale = Σ_rows dy·x̂. The mean is a product with scale/D, a vector.
    SimplifiedLayerNormalization: rule((step) => {
      let shared: (ReturnType<typeof rmsParts> & { product: Value }) | undefined;
      const parts = () => {
        if (shared) return shared;
        const found = rmsParts(step);
        shared = { ...found, product: mul(found.dy, found.normalized) };
        return shared;
      };
      return [
        () => {
          const { dy, normalized, inverse, scale, product } = parts();
          const width = Number(scale.shape[0]);
          const mean = matMul(product, reshape(mul(scale, 1 / width), [width, 1]));
          return mul(sub(mul(dy, scale), mul(normalized, mean)), inverse);
        },
        () => {
          const { product } = parts();
          return reduceSum(product, { axes: product.shape.slice(0, -1).map((_, axis) => axis) });
        },
      ];
    }),
    // A rotation's transpose is the rotation by the negative angle. The tables are constants of the model.
    RotaryEmbedding: rule((step) => [
      () => {
        const [cos, sin] = [step.input(1), step.input(2)];
        const positions = step.given(3);
        const rest = positions === undefined ? [] : [positions];
        return step
          .input(0)
          .graph.one("RotaryEmbedding", [step.dy(), cos, neg(sin), ...rest], step.attributes);
      },
    ]),
    TensorScatter: refused("a key-value cache is for decoding"),
    Attention: refused(
      "the fused attention is for decoding; training writes out its products and its softmax",
    ),
    GroupQueryAttention: refused(
      "the fused attention is for decoding; training writes out its products and its softmax",
    ),
  };
