/** y = −x over one float32, as an ONNX model: the smallest graph that every provider computes. */
export const NEGATION: Uint8Array = Buffer.from(
  "CAg6MgoLCgF4EgF5IgNOZWcSAWdaDwoBeBIKCggIARIECgIIAWIPCgF5EgoKCAgBEgQKAggBQgIQDQ==",
  "base64",
);
