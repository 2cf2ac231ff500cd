// What is committed in dist/ is what src/ makes, and stays small.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { stale } from "../scripts/build.mjs";

/** KiB of gzip -9. */
const BUDGETS = {
  "client.mjs": 8.5, "client.files.mjs": 2.5, "client.diagnose.mjs": 1.5,
  "client.js": 8.75, "client.files.js": 2.6, "client.diagnose.js": 1.6,
};

test("dist/ is what the sources make", async () => {
  assert.deepEqual(await stale(), [], "run npm run build");
});

for (const [name, budget] of Object.entries(BUDGETS)) {
  test(`${name} has at most ${budget} KiB`, () => {
    const size = gzipSync(readFileSync(new URL(`../dist/${name}`, import.meta.url)), { level: 9 }).length;
    console.log(`${name}: ${(size / 1024).toFixed(2)} KiB`);
    assert.ok(size <= budget * 1024, `${size} bytes`);
  });
}

test("the lock file names no registry", () => {
  assert.doesNotMatch(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"), /https?:\/\/[^"]*\.tgz|"resolved"/);
});
