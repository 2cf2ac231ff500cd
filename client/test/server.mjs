// A meetpoint process for a test, on free ports, ended with it.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { connect } from "../dist/client.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));

function program() {
  const targets = [process.env.CARGO_TARGET_DIR, join(root, "target")].filter(Boolean);
  const found = [process.env.MEETPOINT_BIN, ...targets.map((target) => join(target, "debug/meetpoint"))].find((path) => path && existsSync(path));
  if (!found) throw new Error("build meetpoint first, or name it in MEETPOINT_BIN");
  return found;
}

/** A port of the loopback interface that nobody has at this moment. */
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
    probe.on("error", reject);
  });
}

export class Server {
  #child;
  #folder = mkdtempSync(join(tmpdir(), "meetpoint-sdk-"));
  log = "";

  /** `settings`: `{SIGNALING__RESUME_GRACE: "2s"}` and the like. */
  static async start(settings = {}) {
    const server = new Server();
    server.http = await freePort();
    server.relay = await freePort();
    server.settings = settings;
    await server.up();
    return server;
  }

  get url() {
    return `http://127.0.0.1:${this.http}/`;
  }

  async up() {
    const env = {
      ...process.env,
      MEETPOINT__HTTP__LISTEN: `127.0.0.1:${this.http}`,
      MEETPOINT__RELAY__LISTEN: `127.0.0.1:${this.relay}`,
      MEETPOINT__RELAY__EXTERNAL_IP: "127.0.0.1",
      MEETPOINT__CREDENTIALS__SECRETS: "a secret of the tests of the client alone",
    };
    for (const [key, value] of Object.entries(this.settings)) env[`MEETPOINT__${key}`] = value;
    const child = (this.#child = spawn(program(), ["serve"], { cwd: this.#folder, env, stdio: ["ignore", "pipe", "pipe"] }));
    child.stdout.on("data", (data) => (this.log += data));
    child.stderr.on("data", (data) => (this.log += data));
    for (;;) {
      if (child.exitCode !== null) throw new Error(`meetpoint ended:\n${this.log}`);
      if (await fetch(`${this.url}readyz`).then((answer) => answer.ok, () => false)) return;
      await new Promise((again) => setTimeout(again, 30));
    }
  }

  /** `SIGTERM` drains, `SIGKILL` crashes. */
  async down(signal = "SIGKILL") {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  async end() {
    await this.down();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Runs a test against a server of its own, and ends what it opened. */
export async function withServer(settings, test) {
  const server = await Server.start(settings);
  const hubs = [];
  try {
    await test(server, async (options = {}, url = server.url) => {
      const hub = await connect(url, { WebSocket: Recorded, ...options });
      hubs.push(hub);
      return hub;
    });
  } catch (error) {
    error.message += `\nthe server wrote:\n${server.log}`;
    throw error;
  } finally {
    for (const hub of hubs) hub.close();
    await server.end();
  }
}

/** A WebSocket whose frames a test can see, and whose line it can cut. */
export class Recorded extends WebSocket {
  static all = [];
  sent = [];
  received = [];

  constructor(...given) {
    super(...given);
    Recorded.all.push(this);
    this.on("message", (data, isBinary) => this.received.push(isBinary ? { t: "binary" } : JSON.parse(data)));
  }

  send(data) {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : { t: "binary" });
    super.send(data);
  }

  /** The line goes dead without a word. */
  cut() {
    this.terminate();
  }
}

/** The newest socket of a hub. */
export function socketOf(hub) {
  return Recorded.all.findLast((socket) => socket.received.some((frame) => frame.t === "welcome" && frame.peer === hub.peer));
}

/** The next event that passes. */
export async function next(emitter, type, passes = () => true) {
  for await (const event of emitter.on(type)) if (passes(event)) return event;
  throw new Error(`closed before ${type}`);
}

export async function until(condition, what = condition) {
  const deadline = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await new Promise((again) => setTimeout(again, 10));
  }
}
