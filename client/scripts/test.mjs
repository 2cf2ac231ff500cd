// Runs test/*.test.mjs with Node's test runner. The last line is `N passed, N failed`, for ops/test.sh.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../test/", import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".test.mjs") && (!wanted.length || wanted.some((word) => name.includes(word))))
  .map((name) => join(folder, name));

let passed = 0;
let failed = 0;
/** The runner wraps each file into a test of its own. */
const isFile = ({ name }) => files.includes(name) || name.endsWith(".test.mjs");
for await (const { type, data } of run({ files, concurrency: 1, timeout: 300_000 })) {
  if (type === "test:pass" && !isFile(data)) {
    passed++;
    console.log(`ok    ${data.name} (${Math.round(data.details.duration_ms)} ms)`);
  } else if (type === "test:fail" && !(isFile(data) && failed)) {
    failed++;
    console.log(`FAIL  ${data.name}\n${data.details.error?.cause?.stack ?? data.details.error?.stack ?? data.details.error}`);
  } else if (type === "test:stderr" || type === "test:stdout") {
    process.stdout.write(data.message);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed || !passed ? 1 : 0;
