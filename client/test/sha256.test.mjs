// Our SHA-256 against Node's, fed in pieces of every awkward size.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const { outputFiles: [bundle] } = await build({
  entryPoints: [fileURLToPath(new URL("../src/sha256.ts", import.meta.url))], bundle: true, format: "esm", write: false,
});
const { Sha256 } = await import(`data:text/javascript;base64,${Buffer.from(bundle.contents).toString("base64")}`);

test("the hash is SHA-256, whatever the pieces", () => {
  for (const size of [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 1_000, 70_000]) {
    const data = randomBytes(size);
    for (const piece of [1, 7, 63, 64, 65, 4_096]) {
      const hash = new Sha256();
      for (let at = 0; at < size; at += piece) hash.update(data.subarray(at, at + piece));
      assert.equal(hash.hex(), createHash("sha256").update(data).digest("hex"), `${size} in ${piece}`);
    }
  }
});
