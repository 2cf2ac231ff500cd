// The session: connecting, rooms, coming back, giving up. Against the real server.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import "../dist/client.requests.mjs";
import { next, Recorded, socketOf, until, withServer } from "./server.mjs";

const SECRET = "a token secret of at least thirty-two characters";

function token(claims, seconds = 60) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ exp: Math.floor(Date.now() / 1000) + seconds, ...claims })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}

test("a room shows who is there, who comes and who goes", () =>
  withServer({}, async (_server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    assert.equal(ann.peer, "ann");
    const room = await ann.join("r", { meta: { name: "Ann" } });
    const came = next(room, "peer");
    const other = await bob.join("r", { meta: { name: "Bob" } });
    assert.equal((await came).id, "bob");
    assert.deepEqual(room.peers.get("bob").meta, { name: "Bob" });
    // Whoever listens after joining still hears of those who were first.
    const found = await next(other, "peer");
    assert.deepEqual([found.id, found.meta], ["ann", { name: "Ann" }]);
    const changed = next(other, "presence");
    await room.presence({ muted: true }, ["name"]);
    assert.deepEqual((await changed).peer.meta, { muted: true });
    const gone = next(room, "leave");
    await other.leave();
    assert.equal((await gone).why, "leave");
    assert.equal(room.peers.size, 0);
  }));

test("messages, broadcasts and requests go through the hub where there is no WebRTC", () =>
  withServer({}, async (_server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    const room = await ann.join("r");
    const other = await bob.join("r");
    const heard = other.on("message");
    const peer = await next(room, "peer");
    await peer.send({ n: 1 });
    await peer.send(new Uint8Array([1, 2, 3]));
    const long = "x".repeat(60_000);
    await peer.send(long);
    assert.deepEqual((await heard.next()).value.data, { n: 1 });
    assert.deepEqual([...(await heard.next()).value.data], [1, 2, 3]);
    assert.equal((await heard.next()).value.data, long);
    assert.equal(peer.state, "hub");
    const all = next(other, "broadcast");
    await room.broadcast("everybody");
    assert.deepEqual(await all, { from: "ann", data: "everybody" });
    const bytes = next(other, "broadcast");
    await room.broadcast(new Uint8Array([0, 255]));
    assert.deepEqual([...(await bytes).data], [0, 255]);

    other.handle(async (data, from) => {
      if (data === "fail") throw new Error("cannot");
      return `${from.id} said ${data}`;
    });
    assert.equal(await peer.request("hello"), "ann said hello");
    await assert.rejects(peer.request("fail"), { code: "remote", message: "cannot" });
    other.handle(() => new Promise(() => {}));
    await assert.rejects(peer.request("?", { timeout: 50 }), { code: "timeout" });
    const aborting = new AbortController();
    const asked = peer.request("?", { signal: aborting.signal });
    aborting.abort();
    await assert.rejects(asked, { code: "aborted" });
    await assert.rejects(peer.send("x".repeat(70_000)), { code: "too_large" });
  }));

test("more than the hub carries at once arrives whole and in order", () =>
  // A burst smaller than the packets that are under way at once: it is met however slow the machine is.
  withServer({ SIGNALING__RELAY_BYTES_PER_SECOND: "64KiB", SIGNALING__RELAY_BYTE_BURST: "40KiB" }, async (_server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    const room = await ann.join("r");
    const heard = (await bob.join("r")).on("message");
    const peer = await next(room, "peer");
    const refusals = () => socketOf(ann).received.filter((frame) => frame.code === "relay_busy").length;
    const sending = (async () => { for (let n = 0; n < 4; n++) await peer.send({ n, pad: "x".repeat(60_000) }); })();
    for (let n = 0; n < 4; n++) assert.equal((await heard.next()).value.data.n, n);
    await sending;
    assert.ok(refusals() > 0, "the budget was never met: this test tests nothing");
    assert.ok(!socketOf(ann).received.some((frame) => frame.code === "rate_limited"), "refused packets came again too soon");
  }));

test("a session that lost its socket goes on where it was", () =>
  withServer({}, async (_server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    const room = await ann.join("r");
    const other = await bob.join("r");
    const peer = await next(room, "peer");
    const heard = other.on("message");
    await peer.send("before");
    assert.equal((await heard.next()).value.data, "before");
    const seen = [];
    room.on("presence", ({ ev }) => seen.push(ev));
    room.on("leave", () => seen.push("leave"));
    socketOf(bob).cut();
    await until(() => seen.includes("away"), "away");
    // Sent while nobody is there to hear it.
    await room.update({ topic: "kept" });
    void peer.send("meanwhile");
    await next(bob, "state", ({ state }) => state === "open");
    assert.equal((await heard.next()).value.data, "meanwhile");
    await until(() => seen.includes("back"), "back");
    assert.deepEqual(seen, ["away", "back"]);
    assert.ok(socketOf(bob).received.find((frame) => frame.t === "welcome").resumed);
    await until(() => other.meta.topic === "kept", "the metadata");
  }));

test("events are acknowledged, every 32 of them at once", () =>
  withServer({}, async (_server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    const room = await ann.join("r");
    await bob.join("r");
    for (let n = 0; n < 40; n++) await room.broadcast(n);
    await until(() => socketOf(bob).sent.some((frame) => frame.t === "ack"), "an ack");
    const { seq } = socketOf(bob).sent.find((frame) => frame.t === "ack");
    // At the 32nd event, not when the last one had been there for 5 s.
    assert.ok(seq >= 32 && seq < 40, `acknowledged ${seq}`);
  }));

test("a restart of the server brings everybody back into their rooms", () =>
  withServer({}, async (server, open) => {
    const [ann, bob] = [await open({ peer: "ann" }), await open({ peer: "bob" })];
    const room = await ann.join("r");
    const other = await bob.join("r");
    const peer = await next(room, "peer");
    const heard = other.on("message");
    await peer.send(1);
    await heard.next();
    const left = [];
    for (const each of [room, other]) each.on("leave", (event) => left.push(event));
    await server.down();
    void peer.send(2);
    await server.up();
    assert.equal((await heard.next()).value.data, 2);
    assert.equal(left.length, 0, "nobody left");
    const names = async (each) => (await each.who()).map(({ peer }) => peer).sort();
    assert.deepEqual([await names(room), await names(other)], [["bob"], ["ann"]]);
  }));

test("a drained server is left in the time that it names, and the next one takes everybody in", () =>
  withServer({ HTTP__DRAIN_TIMEOUT: "3s", RELAY__DRAIN_TIMEOUT: "1s" }, async (server, open) => {
    const ann = await open({ peer: "ann" });
    await ann.join("r");
    const drained = next(ann, "drain");
    await server.down("SIGTERM");
    assert.equal((await drained).after.length, 2);
    await server.up();
    await until(() => ann.state === "open", "open");
    await until(() => socketOf(ann).received.some((frame) => frame.t === "joined"), "joined again");
  }));

test("41xx ends it: nobody knocks twice with a bad token", () =>
  withServer({ AUTH__JWT_SECRETS: SECRET, AUTH__JWT_LEEWAY: "0s" }, async (_server, open) => {
    const before = Recorded.all.length;
    await assert.rejects(open({ token: "nonsense" }), { code: "stopped" });
    await new Promise((later) => setTimeout(later, 1_200));
    assert.equal(Recorded.all.length, before + 1);
  }));

test("an expired token is fetched anew, once, and the session goes on", () =>
  withServer({ AUTH__JWT_SECRETS: SECRET, AUTH__JWT_LEEWAY: "0s" }, async (_server, open) => {
    let asked = 0;
    const ann = await open({ token: async () => token({ sub: "ann" }, ++asked === 1 ? 2 : 60) });
    const room = await ann.join("r");
    const states = [];
    ann.on("state", ({ state }) => states.push(state));
    await until(() => states.includes("open"), "open again");
    assert.equal(asked, 2);
    await until(() => socketOf(ann).received.some((frame) => frame.t === "joined"), "joined again");
    assert.deepEqual(await room.who(), []);
    const stopped = [];
    const bob = await open({ token: () => token({ sub: "bob" }, stopped.push(0) === 1 ? 2 : -60) });
    await next(bob, "state", ({ state }) => state === "stopped");
    assert.equal(stopped.length, 2, "one more try, not two");
  }));

test("a newer session of the same peer takes over, and the older one stops", () =>
  withServer({ AUTH__JWT_SECRETS: SECRET, AUTH__JWT_LEEWAY: "0s" }, async (_server, open) => {
    const first = await open({ peer: "ann", token: token({ sub: "ann" }) });
    await first.join("r");
    const stopped = next(first, "state", ({ state }) => state === "stopped");
    const second = await open({ peer: "ann", token: token({ sub: "ann" }) });
    await second.join("r");
    await stopped;
  }));

test("a room key that is wrong is refused, and joining again with the right one works", () =>
  withServer({}, async (_server, open) => {
    const [ann, bob] = [await open(), await open()];
    await ann.join("r", { key: "right" });
    await assert.rejects(bob.join("r", { key: "wrong" }), { code: "forbidden" });
    await bob.join("r", { key: "right" });
  }));

test("a page that was loaded anew is another peer, and hears nothing that was said to the one before", () =>
  withServer({ AUTH__JWT_SECRETS: SECRET }, async (_server, open) => {
    const as = (sub) => ({ peer: sub, token: token({ sub }) });
    const ann = await open(as("ann"));
    const before = await open(as("bob"));
    const room = await ann.join("r");
    (await before.join("r")).handle((data) => `first: ${data}`);
    const first = await next(room, "peer");
    assert.equal(await first.request("hello"), "first: hello");
    const left = next(room, "leave");
    const after = await open(as("bob"));
    const other = await after.join("r");
    const heard = other.on("message");
    (await next(other, "peer")).send("hello").catch(() => {});
    assert.deepEqual([(await left).peer, (await left).why], [first, "replaced"]);
    const second = room.peers.get("bob");
    assert.notEqual(second, first);
    await second.send("to the second");
    assert.equal((await heard.next()).value.data, "to the second");
    await assert.rejects(first.send("to nobody"), { code: "closed" });
    assert.equal(second.state, "hub");
  }));
