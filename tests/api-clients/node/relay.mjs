// Whether what a client read relays: aiortc gathers with it, which is an Allocate for each URL.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export const TOKEN = "acme-token-of-32-characters-or-more";

/** A process that answers like `service` and asks for tokens; `TOKEN` is that of its one tenant, acme. */
export const settings = (service) => ({
  HTTP__COMPAT: service,
  ICE__HOST: "127.0.0.1",
  AUTH__JWT_SECRETS: "0123456789abcdef0123456789abcdef",
  REALMS__ACME__SECRETS: "the secret of acme",
  REALMS__ACME__TOKENS: TOKEN,
});

/** Relayed candidates by `iceServers`: `{together, alone: {url: N}}`. */
async function gather(iceServers) {
  const script = fileURLToPath(new URL("../gather.py", import.meta.url));
  const child = spawn(process.env.MEETPOINT_TEST_PYTHON ?? "python3", [script], { stdio: ["pipe", "pipe", "inherit"] });
  let printed = "";
  child.stdout.on("data", (data) => (printed += data));
  child.stdin.end(JSON.stringify({ iceServers }));
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  assert.equal(code, 0, "gather.py");
  return JSON.parse(printed);
}

/** Each TURN URL gives a relayed candidate, over UDP and over TCP, and so does the whole list. */
export async function relays(iceServers) {
  const { together, alone } = await gather(iceServers);
  assert.equal(together, 1, JSON.stringify(iceServers));
  for (const [url, candidates] of Object.entries(alone)) assert.equal(candidates, 1, url);
  for (const transport of ["udp", "tcp"])
    assert.ok(Object.keys(alone).some((url) => url.endsWith(`transport=${transport}`)), `${transport}: ${Object.keys(alone)}`);
}

/** None does. */
export async function opensNothing(iceServers) {
  const { together, alone } = await gather(iceServers);
  assert.ok(Object.keys(alone).length > 0, "no TURN URL");
  assert.ok([together, ...Object.values(alone)].every((count) => count === 0), JSON.stringify({ together, alone }));
}

/** Seconds that a username is good for from now on. */
export const lifetime = (username) => Number(/^\d+/.exec(username)[0]) - Date.now() / 1000;
