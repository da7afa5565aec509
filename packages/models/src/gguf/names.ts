/** What GGUF calls the parameters of a Llama-family model. */

const shared: readonly (readonly [string, string])[] = [
  ["token_embd", "model.embed_tokens"],
  ["output_norm", "model.norm"],
  ["output", "lm_head"],
];

const perLayer: readonly (readonly [string, string])[] = [
  ["attn_norm", "input_layernorm"],
  ["attn_q", "self_attn.q_proj"],
  ["attn_k", "self_attn.k_proj"],
  ["attn_v", "self_attn.v_proj"],
  ["attn_output", "self_attn.o_proj"],
  ["attn_q_norm", "self_attn.q_norm"],
  ["attn_k_norm", "self_attn.k_norm"],
  ["ffn_norm", "post_attention_layernorm"],
  ["ffn_gate", "mlp.gate_proj"],
  ["ffn_up", "mlp.up_proj"],
  ["ffn_down", "mlp.down_proj"],
];

const sharedNames = new Map(shared);
const layerNames = new Map(perLayer);

/** The Hugging Face name of a GGUF tensor, e.g. of "blk.3.attn_q.weight"; `undefined` for one that has none. */
export function parameterName(tensor: string): string | undefined {
  const match = /^(?:blk\.(\d+)\.)?([a-z_]+)\.(weight|bias)$/.exec(tensor);
  if (match === null) return undefined;
  const [, layer, part = "", kind = ""] = match;
  const name = layer === undefined ? sharedNames.get(part) : layerNames.get(part);
  if (name === undefined) return undefined;
  return layer === undefined ? `${name}.${kind}` : `model.layers.${layer}.${name}.${kind}`;
}
