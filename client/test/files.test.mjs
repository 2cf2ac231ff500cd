// Files over the hub alone: the slowest way, the one that breaks most often.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import "../dist/client.files.mjs";
import { next, Recorded, socketOf, until, withServer } from "./server.mjs";

const FAST = { SIGNALING__RELAY_BYTES_PER_SECOND: "512KiB", SIGNALING__RELAY_BYTE_BURST: "128KiB" };
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

test("a file goes on where it was when a socket breaks in the middle of it", () =>
  withServer(FAST, async (_server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    const room = await ann.join("r");
    const other = await bob.join("r");
    const bytes = randomBytes(700_000);
    const done = [];
    const got = new Promise((resolve, reject) =>
      other.onFile((file) => file.accept({ onProgress: (at) => done.push(at) }).then(resolve, reject)));
    const peer = await next(room, "peer");
    const sent = peer.sendFile(new File([bytes], "random.bin"));
    await until(() => done.length > 2, "some of it");
    socketOf(bob).cut();
    await until(() => done.length > 5, "more of it");
    socketOf(ann).cut();
    assert.equal((await sent).sha256, sha256(bytes));
    const result = await got;
    assert.deepEqual(Buffer.from(await result.blob.arrayBuffer()), bytes);
    assert.ok(done.every((at, i) => i === 0 || at > done[i - 1]), "nothing was taken in twice");
  }));

test("a file goes on where it was when the link was closed and made anew", () =>
  withServer({ ...FAST, SIGNALING__RESUME_GRACE: "0s" }, async (_server, open) => {
    let blocked = false;
    class Blockable extends Recorded {
      constructor(...given) {
        if (blocked) throw new Error("no network");
        super(...given);
      }
    }
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob", WebSocket: Blockable })];
    const room = await ann.join("r");
    const other = await bob.join("r");
    const bytes = randomBytes(700_000);
    const done = [];
    const got = new Promise((resolve, reject) =>
      other.onFile((file) => file.accept({ onProgress: (at) => done.push(at) }).then(resolve, reject)));
    const peer = await next(room, "peer");
    const sent = peer.sendFile(new Blob([bytes]));
    await until(() => done.length > 2, "some of it");
    blocked = true;
    const gone = next(room, "leave");
    socketOf(bob).cut();
    assert.equal((await gone).peer, peer);
    assert.equal(peer.state, "closed");
    blocked = false;
    assert.equal((await sent).sha256, sha256(bytes));
    assert.equal((await got).sha256, sha256(bytes));
    assert.ok(done.every((at, i) => i === 0 || at > done[i - 1]), "it began anew");
  }));

test("a file that nobody takes is refused, and one that is left in the lurch fails", () =>
  withServer(FAST, async (_server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    const room = await ann.join("r");
    const other = await bob.join("r");
    const peer = await next(room, "peer");
    await assert.rejects(peer.sendFile(new Blob(["x"])), { code: "rejected" });
    other.onFile(() => {});
    const waiting = peer.sendFile(new Blob(["x"]), { patience: 100 });
    await other.leave();
    await assert.rejects(waiting, { code: "closed" });
    const aborted = AbortSignal.abort();
    await assert.rejects(peer.sendFile(new Blob(["x"]), { signal: aborted }), { code: "aborted" });
  }));

test("an empty file is a file, and a sink that fails ends both sides", () =>
  withServer(FAST, async (_server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    const room = await ann.join("r");
    const other = await bob.join("r");
    const peer = await next(room, "peer");
    const off = other.onFile((file) => void file.accept());
    assert.deepEqual(await peer.sendFile(new Blob([])), { size: 0, sha256: sha256("") });
    off();
    const failed = new Promise((resolve) => other.onFile((file) => {
      const sink = new WritableStream({ write() { throw new Error("disk full"); } });
      file.accept({ sink }).catch(resolve);
    }));
    await assert.rejects(peer.sendFile(new Blob(["x".repeat(100_000)])), { code: "rejected" });
    assert.equal((await failed).code, "failed");
  }));
