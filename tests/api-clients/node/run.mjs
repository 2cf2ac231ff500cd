// The official clients of other services against a meetpoint process. Prints `N passed, N failed`.
import cloudflare from "./cloudflare.mjs";
import fetched from "./fetched.mjs";
import https from "./https.mjs";
import matrix from "./matrix.mjs";
import stunner from "./stunner.mjs";
import { believing } from "./trusted.mjs";
import twilio from "./twilio.mjs";

await believing();

const PATIENCE = 60_000;
const tests = { ...cloudflare, ...twilio, ...matrix, ...stunner, ...fetched, ...https };

let [passed, failed] = [0, 0];
for (const [name, test] of Object.entries(tests)) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("not in time")), PATIENCE)));
  try {
    await Promise.race([test(), late]);
    passed += 1;
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${name}\n${error.stack}`);
  }
  clearTimeout(timer);
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
