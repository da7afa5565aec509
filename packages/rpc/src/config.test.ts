import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readRpcSecurity } from "./config.ts";

describe("security settings", () => {
  it("are read from files, and refused where they are half", () => {
    const fixture = (name: string): string => fileURLToPath(new URL(`./fixtures/${name}`, import.meta.url));
    expect(readRpcSecurity({})).toEqual({});
    const pair = { OARLOCK_TLS_CERT: fixture("server.crt"), OARLOCK_TLS_KEY: fixture("server.key") };
    expect(readRpcSecurity({ ...pair, OARLOCK_TOKEN: "t" })).toMatchObject({
      tls: { cert: expect.stringContaining("CERTIFICATE") },
      token: "t",
    });
    expect(() => readRpcSecurity({ OARLOCK_TLS_CERT: fixture("server.crt") })).toThrow(/given together/);
    expect(() => readRpcSecurity({ ...pair, OARLOCK_TLS_CA: "/no/such" })).toThrow(
      /OARLOCK_TLS_CA="\/no\/such"/,
    );
  });
});
