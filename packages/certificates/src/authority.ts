/**
 * A certificate authority whose key is derived and never stored: it signs short-lived identities for the pods of one run. Keys
 * are on P-256, which every TLS library takes. It does not know where its certificates are kept.
 */
import "reflect-metadata";
import { createHash, webcrypto } from "node:crypto";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { deriveP256, type KeySource } from "./derive.ts";

/** A certificate, its key, and the authority that vouches for it: PEM texts. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface AuthorityOptions extends KeySource {
  /** Its subject's common name. */
  readonly name: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface CertificateRequest {
  /** The subject's common name. */
  readonly name: string;
  /** Names under which servers with it are reached. None: it is for a client only. */
  readonly dnsNames: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface Authority {
  /** Its own certificate, PEM. */
  readonly certificate: string;
  /** SHA-256 of its public key: another secret gives another one. */
  readonly fingerprint: string;
  /** A new key and its certificate. */
  issue(request: CertificateRequest): Promise<Identity>;
}

const CURVE = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" } as const;
const SERIAL_BYTES = 16;

/** The authority of a secret: the same options give the same key. */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  const { name, notBefore, notAfter } = options;
  const { subtle } = webcrypto;
  const secretKey = deriveP256(options);
  const { d: _, ...open } = secretKey;
  const signingKey = await subtle.importKey("jwk", secretKey, CURVE, false, ["sign"]);
  const publicKey = await subtle.importKey("jwk", open, CURVE, true, ["verify"]);
  const fingerprint = createHash("sha256")
    .update(Buffer.from(await subtle.exportKey("spki", publicKey)))
    .digest("hex");
  const subject = `CN=${name}`;
  const sign = (of: Signed): Promise<string> => certificate({ ...of, issuer: subject, signingKey });
  const own = await sign({
    subject,
    // One key, one certificate: whoever compares them finds one number.
    serialNumber: fingerprint.slice(0, 2 * SERIAL_BYTES),
    notBefore,
    notAfter,
    publicKey,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return {
    certificate: own,
    fingerprint,
    async issue(request) {
      const pair = await subtle.generateKey(CURVE, true, ["sign", "verify"]);
      const cert = await sign({
        ...request,
        subject: `CN=${request.name}`,
        publicKey: pair.publicKey,
        extensions: [
          new BasicConstraintsExtension(false, undefined, true),
          new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
          new ExtendedKeyUsageExtension([
            ExtendedKeyUsage.clientAuth,
            ...(request.dnsNames.length === 0 ? [] : [ExtendedKeyUsage.serverAuth]),
          ]),
          await AuthorityKeyIdentifierExtension.create(publicKey),
          ...alternativeNames(request.dnsNames),
        ],
      });
      const key = await subtle.exportKey("pkcs8", pair.privateKey);
      return { cert, key: `${PemConverter.encode(key, PemConverter.PrivateKeyTag)}\n`, ca: own };
    },
  };
}

interface Signed {
  readonly subject: string;
  readonly serialNumber?: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly publicKey: webcrypto.CryptoKey;
  readonly extensions: readonly Extension[];
}

async function certificate({
  publicKey,
  extensions,
  ...of
}: Signed & { readonly issuer: string; readonly signingKey: webcrypto.CryptoKey }): Promise<string> {
  const made = await X509CertificateGenerator.create({
    ...of,
    signingAlgorithm: SIGNATURE,
    publicKey,
    extensions: [...extensions, await SubjectKeyIdentifierExtension.create(publicKey)],
  });
  return `${made.toString("pem")}\n`;
}

function alternativeNames(dnsNames: readonly string[]): readonly Extension[] {
  if (dnsNames.length === 0) return [];
  return [new SubjectAlternativeNameExtension(dnsNames.map((value) => ({ type: "dns" as const, value })))];
}
