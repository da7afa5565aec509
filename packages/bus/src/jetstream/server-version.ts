/** Which versions of nats-server can serve us. Pure. */

/** The oldest that does all that the driver needs: ends messages with a reason, limits per message, pauses. */
export const OLDEST_SERVER = "2.11";

/** Whether a server of that version ("2.15.2") can; one that says none is no server. */
export function canServe(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = OLDEST_SERVER.split(".").map(Number);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}
