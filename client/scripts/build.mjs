// Bundles src/ into dist/: for each entry point an ES module (.mjs) and a script (.js), and the types.
//
//   node scripts/build.mjs           writes dist/
//   node scripts/build.mjs --check   says what in dist/ is not what src/ makes
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Extensions share the core's classes: as modules by importing it, as scripts by its global. */
const core = {
  name: "core",
  setup(build) {
    const { format } = build.initialOptions;
    build.onResolve({ filter: /^\.\/index\.js$/ }, () =>
      format === "esm" ? { path: "./client.mjs", external: true } : { path: "core", namespace: "core" });
    build.onLoad({ filter: /.*/, namespace: "core" }, () => ({ contents: "export const { Hub, MeetpointError, Peer, Room } = globalThis.meetpoint", loader: "js" }));
  },
};

export async function buildInto(folder) {
  for (const [entry, name] of [["index", "client"], ["files", "client.files"], ["diagnose", "client.diagnose"]]) {
    if (!existsSync(join(root, "src", `${entry}.ts`))) continue;
    for (const [format, extension] of [["esm", "mjs"], ["iife", "js"]]) {
      await build({
        entryPoints: [join(root, "src", `${entry}.ts`)],
        outfile: join(folder, `${name}.${extension}`),
        bundle: true, minify: true, format, target: "es2022", charset: "utf8",
        legalComments: "none",
        mangleProps: /^_[a-z]/,
        define: { __VERSION__: JSON.stringify(version) },
        logOverride: { "empty-import-meta": "silent" },
        ...(entry === "index" ? { globalName: "meetpoint" } : { plugins: [core] }),
      });
    }
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
