// What is committed in dist/ is what src/ makes, and stays small.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { stale } from "../scripts/build.mjs";

/** Bytes of gzip -9, of the module and of the script. */
const BUDGETS = { client: 7_168, "client.files": 2_560, "client.diagnose": 1_536, "client.channels": 768, "client.requests": 768 };

test("dist/ is what the sources make", async () => {
  assert.deepEqual(await stale(), [], "run npm run build");
});

for (const [name, budget] of Object.entries(BUDGETS)) {
  test(`${name} has at most ${budget} bytes compressed`, () => {
    for (const file of [`${name}.mjs`, `${name}.js`]) {
      const size = gzipSync(readFileSync(new URL(`../dist/${file}`, import.meta.url)), { level: 9 }).length;
      console.log(`${file}: ${size} bytes`);
      assert.ok(size <= budget, `${file} has ${size} bytes`);
    }
  });
}

test("the lock file names no registry", () => {
  assert.doesNotMatch(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"), /https?:\/\/[^"]*\.tgz|"resolved"/);
});
