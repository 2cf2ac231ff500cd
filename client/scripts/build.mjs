// Bundles src/ into dist/: for each entry point an ES module (.mjs) and a script (.js), and the types.
// esbuild bundles, and gives short names to what never leaves the core; terser minifies what is left.
//
//   node scripts/build.mjs           writes dist/
//   node scripts/build.mjs --check   says what in dist/ is not what src/ makes
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** What is loaded by itself: the file in src/, and the name in dist/. */
const ENTRIES = { index: "client", channels: "client.channels", requests: "client.requests", files: "client.files", diagnose: "client.diagnose" };

/** Members that never leave the core, beside those whose names begin with `_`: no field of a frame and no name of the browser is one. */
const INTERNAL = [
  "PeerConnection", "ackAfter", "again", "broken", "configuration", "failed", "frame", "handle", "hooks", "made", "moves", "path", "patience", "payload",
  "polite", "probe", "pump", "receive", "repair", "repeat", "request", "sent", "signal", "start", "stuck", "unused", "use", "welcome", "window",
];

/** As scripts, the core is its exports in one global, and extensions find its classes there. */
const script = {
  name: "script",
  setup(build) {
    build.onResolve({ filter: /^\.\/index\.js$/ }, ({ kind }) => (kind === "import-statement" ? { path: "core", namespace: "global" } : undefined));
    build.onLoad({ filter: /.*/, namespace: "global" }, () => ({ contents: "export const { Emitter, Hub, MeetpointError, Peer, Room } = meetpoint" }));
  },
};

/** As modules, extensions import the core's classes. */
const external = {
  name: "external",
  setup(build) {
    build.onResolve({ filter: /^\.\/index\.js$/ }, () => ({ path: "./client.mjs", external: true }));
  },
};

const GLOBAL = `import { connect, Emitter, Hub, MeetpointError, Peer, Room } from "./src/index.ts"; globalThis.meetpoint = { connect, Emitter, Hub, MeetpointError, Peer, Room };`;

async function bundle(entry, format) {
  const global = entry === "index" && format === "iife";
  const { outputFiles: [{ text }] } = await build({
    ...(global ? { stdin: { contents: GLOBAL, resolveDir: root } } : { entryPoints: [join(root, "src", `${entry}.ts`)] }),
    ...(entry !== "index" && { plugins: [format === "esm" ? external : script] }),
    bundle: true, minify: true, write: false, format, target: "es2022", charset: "utf8", legalComments: "none",
    mangleProps: entry === "index" ? new RegExp(`^_[a-z]|^(${INTERNAL.join("|")})$`) : /^_[a-z]/,
    define: { __VERSION__: JSON.stringify(version), __MODULE__: `${format === "esm"}` },
    logOverride: { "empty-import-meta": "silent" },
  });
  // A second look: it folds what lies in different functions.
  const { code } = await minify(text, { module: format === "esm", ecma: 2020, compress: { passes: 3, unsafe_arrows: true, pure_getters: true }, format: { comments: false } });
  return code;
}

export async function buildInto(folder) {
  mkdirSync(folder, { recursive: true });
  for (const [entry, name] of Object.entries(ENTRIES)) {
    writeFileSync(join(folder, `${name}.mjs`), await bundle(entry, "esm"));
    writeFileSync(join(folder, `${name}.js`), await bundle(entry, "iife"));
  }
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, "--emitDeclarationOnly", "--outDir", join(folder, "types")], { cwd: root, stdio: "inherit" });
}

function files(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}

/** Files of dist/ that are missing, left over, or other than what the sources make. */
export async function stale() {
  const fresh = mkdtempSync(join(tmpdir(), "meetpoint-client-"));
  try {
    await buildInto(fresh);
    const dist = join(root, "dist");
    const same = (name) => {
      try {
        return readFileSync(join(fresh, name)).equals(readFileSync(join(dist, name)));
      } catch {
        return false;
      }
    };
    return [...new Set([...files(fresh), ...files(dist)])].filter((name) => !same(name));
  } finally {
    rmSync(fresh, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes("--check")) {
    const names = await stale();
    if (names.length) console.error(`not what src/ makes: ${names.join(", ")}; run npm run build`);
    process.exitCode = names.length ? 1 : 0;
  } else {
    rmSync(join(root, "dist"), { recursive: true, force: true });
    await buildInto(join(root, "dist"));
  }
}
