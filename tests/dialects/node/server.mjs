// A meetpoint process on free ports, ended with the test that wants it.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

function program() {
  const targets = [process.env.CARGO_TARGET_DIR, join(root, "target")].filter(Boolean);
  const found = targets.map((target) => join(target, "debug/meetpoint")).find(existsSync);
  if (!found) throw new Error("build meetpoint first");
  return found;
}

function listener(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(null)).listen(port, "127.0.0.1", () => resolve(server));
  });
}

/** Different ones, below those that clients are given. */
async function freePorts(count) {
  const held = [];
  while (held.length < count) {
    const server = await listener(12_000 + Math.floor(Math.random() * 20_000));
    if (server) held.push(server);
  }
  const ports = held.map((server) => server.address().port);
  await Promise.all(held.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}

/** Serves while `use(address, port)` runs. `settings`: `{AUTH__JWT_SECRETS: "…"}` and the like. */
export async function serving(settings, use) {
  const [http, relay, own] = await freePorts(3);
  const folder = mkdtempSync(join(tmpdir(), "meetpoint-dialects-"));
  const env = { ...process.env, MEETPOINT__HTTP__LISTEN: `127.0.0.1:${http}`, MEETPOINT__RELAY__LISTEN: `127.0.0.1:${relay}`, MEETPOINT__RELAY__EXTERNAL_IP: "127.0.0.1" };
  for (const [key, value] of Object.entries(settings)) env[`MEETPOINT__${key}`] = value.replace("$own", `127.0.0.1:${own}`);
  const child = spawn(program(), ["serve"], { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (log += data));
  try {
    for (;;) {
      if (child.exitCode !== null) throw new Error(`meetpoint ended:\n${log}`);
      if (await fetch(`http://127.0.0.1:${http}/readyz`).then((answer) => answer.ok, () => false)) break;
      await new Promise((again) => setTimeout(again, 30));
    }
    await use(`127.0.0.1:${http}`, `127.0.0.1:${own}`);
  } finally {
    const ended = new Promise((resolve) => (child.exitCode === null ? child.once("exit", resolve) : resolve()));
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}
