// Clients of other projects against a meetpoint process. Prints `N passed, N failed`.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { io } from "socket.io-client";
import { Announcer, Authenticator, Node, Patient } from "./clients.mjs";
import { serving } from "./server.mjs";

const PATIENCE = 20_000;
const SECRET = "a secret of these tests alone and long enough for HS256";

/** Waits until it is so. */
async function until(what, is) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; ) {
    if (await is()) return;
    await new Promise((again) => setTimeout(again, 20));
  }
  assert.fail(`not in time: ${what}`);
}

function token(claims, secret = SECRET) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}
const soon = () => Math.floor(Date.now() / 1000) + 600;

const tests = {
  "two peers of edge-net end with one link and one offer, whoever comes first": async () => {
    await serving({}, async (address) => {
      for (const [first, second] of [["a", "b"], ["b", "a"], ["9", "10"]]) {
        const one = new Announcer(`ws://${address}/signaling`, first);
        await until("listed", () => one.told.some((frame) => frame.type === "peer-list"));
        const two = new Announcer(`ws://${address}/signaling`, second);
        await until("open", () => one.links.get(second) === "open" && two.links.get(first) === "open");
        assert.equal(one.offers + two.offers, 1);
        one.end();
        two.end();
        await until("gone", async () => (await (await fetch(`http://${address}/health`)).json()).peers === 0);
      }
    });
  },

  "a peer of edge-net that does not announce itself again is reached after its first signal": async () => {
    await serving({ SIGNALING__LISTENERS: "$own=edge-announce" }, async (_, own) => {
      const elder = new Announcer(`ws://${own}/`, "a");
      await until("listed", () => elder.told.length > 0);
      const back = new Announcer(`ws://${own}/`, "b", { announces: false });
      await back.opened;
      back.offer("a");
      await until("open", () => elder.links.get("b") === "open" && back.links.get("a") === "open");
      const late = new Announcer(`ws://${own}/`, "c");
      await until("open", () => late.links.get("b") === "open" && back.links.get("c") === "open");
      for (const client of [elder, back, late]) client.end();
    });
  },

  "a client of Retcon with a bad token ends, with an error and a reason, and one with a good token is let in": async () => {
    await serving({ AUTH__JWT_SECRETS: SECRET }, async (address) => {
      for (const bad of [null, "nonsense", token({ userId: "u", publicKey: "k", exp: soon() }, "another secret, as long as the first one is")]) {
        const client = new Authenticator(`ws://${address}/signaling`, bad);
        const { code, reason } = await client.closed;
        assert.deepEqual({ code, reason }, { code: 4101, reason: "bad_token" });
        assert.equal(client.told.at(-1).type, "error");
        assert.ok(client.told.at(-1).message);
      }
      const good = new Authenticator(`ws://${address}/signaling`, token({ userId: "u", publicKey: "k", exp: soon() }), "alice");
      assert.equal(await good.authenticated, "alice");
      good.say({ type: "join", room: "global" });
      await until("joined", () => good.told.some((frame) => frame.type === "peers_list"));
      good.end();
      const bad = new Patient(`ws://${address}/signaling?token=nonsense`);
      assert.equal((await bad.closed).code, 4101);
      const query = new Patient(`ws://${address}/signaling?token=${token({ userId: "u", publicKey: "k", exp: soon() })}`);
      assert.ok(await query.welcomed);
      query.end();
    });
  },

  "five sockets of Retcon that say nothing count as peers": async () => {
    await serving({}, async (address) => {
      const silent = Array.from({ length: 5 }, () => new Patient(`ws://${address}/signaling`));
      await Promise.all(silent.map((client) => client.opened));
      for (const path of ["/health", "/signaling/health"]) {
        const health = await (await fetch(`http://${address}${path}`)).json();
        assert.equal(health.ok, true);
        assert.ok(health.peers >= 5);
        assert.equal(typeof health.rooms, "number");
      }
      for (const client of silent) client.end();
    });
  },

  "a peer of edge-net that waits among all dialects registers under the id of its welcome": async () => {
    await serving({ SIGNALING__LISTENERS: "$own=edge-net" }, async (address, own) => {
      for (const url of [`ws://${address}/signaling`, `ws://${own}/`]) {
        const client = new Patient(url);
        const id = await client.welcomed;
        assert.match(id, /^peer-[0-9a-f]{16}$/);
        client.say({ type: "register", nodeId: "n", capabilities: ["compute"] });
        await until("registered", () => client.told.some((frame) => frame.type === "registered" && frame.peerId === id));
        client.end();
      }
      assert.equal(typeof (await (await fetch(`http://${own}/stats`)).json()).peers, "number");
    });
  },

  "nodes of edge-net at a relay are welcomed and told the time": async () => {
    await serving({ SIGNALING__LISTENERS: "$own=edge-relay" }, async (_, own) => {
      const [a, b] = ["a", "b"].map((id) => new Node(`ws://${own}/`, id));
      for (const node of [a, b]) await until("synchronised", () => node.told.filter((frame) => frame.type === "time_crystal_sync" && frame.activeNodes === 2).length > 1);
      assert.equal(a.told.filter((frame) => frame.type === "welcome").length, 1);
      assert.equal((await (await fetch(`http://${own}/health`)).json()).status, "healthy");
      a.end();
      await until("left", () => b.told.some((frame) => frame.type === "node_left" && frame.nodeId === "a"));
      b.end();
    });
  },

  "two clients of socket.io find each other and exchange signals, past several pings": async () => {
    await serving({ SIGNALING__PING_INTERVAL: "1s", SIGNALING__DEAD_AFTER: "3s" }, async (address) => {
      const peers = ["a", "b"].map((id) => {
        const socket = io(`http://${address}`, { transports: ["websocket"], auth: { token: "ignored" } });
        const peer = { id, socket, told: [], drops: 0 };
        socket.on("connect", () => socket.emit("register", id));
        socket.on("disconnect", () => (peer.drops += 1));
        for (const event of ["peers:list", "peer:joined", "peer:left", "signal", "error"]) socket.on(event, (value) => peer.told.push([event, value]));
        return peer;
      });
      const [a, b] = peers;
      const knows = (peer, other) => peer.told.some(([event, value]) => [value].flat().some((entry) => entry?.peerId === other) && event.startsWith("peer"));
      await until("known", () => knows(a, "b") || knows(b, "a"));
      const signal = { type: "offer", offer: { type: "offer", sdp: "v=0\r\n" } };
      a.socket.emit("signal", { to: "b", from: "a", signal });
      await until("signalled", () => b.told.some(([event]) => event === "signal"));
      assert.deepEqual(b.told.find(([event]) => event === "signal")[1], { from: "a", signal });
      await a.socket.timeout(5_000).emitWithAck("signal", { to: "b", from: "a", signal });
      await assert.rejects(a.socket.timeout(300).emitWithAck("signal", { to: "nobody", from: "a", signal }));
      assert.equal(a.told.find(([event]) => event === "error")[1].code, "no_peer");
      // Its engine closes by itself when pings of the server stay away.
      let pings = 0;
      b.socket.io.engine.on("packet", (packet) => (pings += packet.type === "ping" ? 1 : 0));
      await until("pinged", () => pings >= 3);
      assert.equal(a.drops + b.drops, 0);
      a.socket.disconnect();
      await until("left", () => b.told.some(([event, value]) => event === "peer:left" && value.peerId === "a"));
      b.socket.disconnect();
    });
  },

  "a client of socket.io that polls is told what to do instead": async () => {
    await serving({}, async (address) => {
      const answer = await fetch(`http://${address}/socket.io/?EIO=4&transport=polling`);
      assert.equal(answer.status, 400);
      assert.match((await answer.json()).message, /websocket/);
      const socket = io(`http://${address}`, { transports: ["polling"], reconnection: false });
      const error = await new Promise((resolve) => socket.on("connect_error", resolve));
      assert.equal(error.message, "xhr poll error");
      socket.disconnect();
      const other = io(`http://${address}/elsewhere`, { transports: ["websocket"], reconnection: false, forceNew: true });
      assert.equal((await new Promise((resolve) => other.on("connect_error", resolve))).message, "Invalid namespace");
      other.disconnect();
    });
  },
};

let [passed, failed] = [0, 0];
for (const [name, test] of Object.entries(tests)) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("not in time")), 3 * PATIENCE)));
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
