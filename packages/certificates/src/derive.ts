/** Keys out of one secret, each for a purpose (HKDF, RFC 5869): whoever knows the secret needs to store none of them. */
import { createECDH, hkdfSync, type webcrypto } from "node:crypto";

/** What a key is of: the secret, whose key it is, what it is for. */
export interface KeySource {
  readonly secret: Uint8Array;
  /** Told apart from all others, such as a uid. */
  readonly of: string;
  readonly purpose: string;
}

/** `bytes` bytes that only the secret's holder can tell. */
export function deriveKey({ secret, of, purpose }: KeySource, bytes: number): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, of, purpose, bytes));
}

/** Order of the base point of P-256. */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
/** 128 bits more than the order has: the remainder's bias is below 2^-128 (FIPS 186-5, A.2.1). */
const WIDE_BYTES = 48;

/** A private key of P-256, as a JSON Web Key. */
export function deriveP256(source: KeySource): webcrypto.JsonWebKey {
  const wide = BigInt(`0x${deriveKey(source, WIDE_BYTES).toString("hex")}`);
  const scalar = Buffer.from(((wide % (ORDER - 1n)) + 1n).toString(16).padStart(64, "0"), "hex");
  const curve = createECDH("prime256v1");
  curve.setPrivateKey(scalar);
  const point = curve.getPublicKey();
  const text = (bytes: Buffer): string => bytes.toString("base64url");
  return {
    kty: "EC",
    crv: "P-256",
    d: text(scalar),
    x: text(point.subarray(1, 33)),
    y: text(point.subarray(33)),
  };
}
