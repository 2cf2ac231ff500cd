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

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
    probe.on("error", reject);
  });
}

/** Serves while `use(address, port)` runs. `settings`: `{AUTH__JWT_SECRETS: "…"}` and the like. */
export async function serving(settings, use) {
  const [http, relay, own] = [await freePort(), await freePort(), await freePort()];
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
