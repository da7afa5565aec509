import { describe, expect, it } from "vitest";
import { refuseHost, thisHost } from "./platform.ts";

describe("X1: a host that no library is shipped for", () => {
  it.each([
    [{ platform: "darwin", arch: "x64", isMusl: false }, /darwin-x64; accepted: linux-x64/],
    [{ platform: "linux", arch: "x64", isMusl: true }, /linux-x64 without the GNU C library \(musl\)/],
    [{ platform: "freebsd", arch: "x64", isMusl: false }, /freebsd-x64/],
  ])("%o is refused with what is accepted", (host, message) => {
    expect(() => refuseHost(host)).toThrow(message);
  });

  it("is not one of those that a library is shipped for, nor this one", () => {
    refuseHost({ platform: "win32", arch: "arm64", isMusl: false });
    refuseHost({ platform: "darwin", arch: "arm64", isMusl: false });
    expect(() => refuseHost(thisHost())).not.toThrow();
  });
});
