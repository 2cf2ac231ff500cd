// A certificate authority of this run, which node, and Python below it, believe from their start on.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const openssl = (...words) => execFileSync("openssl", words, { stdio: ["ignore", "ignore", "pipe"] });

/** Makes one, with a certificate for this machine, and starts this program again, which believes it; never comes back from that. */
export async function believing() {
  if (process.env.TEST_CERTIFICATE) return;
  const folder = mkdtempSync(join(tmpdir(), "meetpoint-ca-"));
  const at = (name) => join(folder, name);
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...ec, "-days", "2", "-subj", "/CN=tests", "-keyout", at("ca.key"), "-out", at("ca.pem"));
  openssl("req", ...ec, "-subj", "/CN=meetpoint", "-keyout", at("key.pem"), "-out", at("request.pem"));
  writeFileSync(at("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
  const signed = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", at("names")];
  openssl("x509", "-req", "-in", at("request.pem"), ...signed, "-out", at("chain.pem"));
  // Of both, Python's default context believes what SSL_CERT_FILE names, and nothing else.
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: at("ca.pem"), SSL_CERT_FILE: at("ca.pem"), TEST_CERTIFICATE: `${at("chain.pem")}:${at("key.pem")}` };
  const again = spawn(process.execPath, process.argv.slice(1), { env, stdio: "inherit" });
  const code = await new Promise((resolve) => again.on("exit", resolve));
  rmSync(folder, { recursive: true, force: true });
  process.exit(code ?? 1);
}
