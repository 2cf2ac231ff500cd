// What an RTCPeerConnection is given, with one that only writes it down: Node has none.
import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import "../dist/client.channels.mjs";
import { connect } from "../dist/client.mjs";
import { next, until } from "./server.mjs";

class Connection {
  static all = [];
  configurations = [];
  channels = [];
  tracks = [];
  candidates = [];
  signalingState = "stable";
  connectionState = "new";
  localDescription = null;
  remoteDescription = null;

  constructor(configuration) {
    this.configurations.push(configuration);
    Connection.all.push(this);
  }

  setConfiguration(configuration) {
    this.configurations.push(configuration);
  }

  createDataChannel(label, options) {
    const channel = { label, ...options, readyState: "connecting", bufferedAmount: 0, close() {} };
    this.channels.push(channel);
    return channel;
  }

  addTrack(track, ...streams) {
    this.tracks.push([track, streams]);
  }

  async setLocalDescription() {
    const answers = this.signalingState === "have-remote-offer";
    this.localDescription = { type: answers ? "answer" : "offer", sdp: "ours" };
    this.signalingState = answers ? "stable" : "have-local-offer";
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
    this.signalingState = description.type === "offer" ? "have-remote-offer" : "stable";
  }

  async addIceCandidate(candidate) {
    assert.ok(this.remoteDescription, "a candidate came before the description it belongs to");
    this.candidates.push(candidate);
  }

  async getStats() {
    return new Map();
  }

  close() {
    this.signalingState = this.connectionState = "closed";
  }
}

const SERVERS = [{ urls: "stun:first.example" }];

/** Runs `test` with a hub of three lines, whose room holds one peer, and with what that hub has been told. */
async function withHub(test, peer = "bob") {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await new Promise((listening) => server.on("listening", listening));
  const told = [];
  let tell;
  server.on("connection", (socket) => {
    tell = (frame) => socket.send(JSON.stringify(frame));
    socket.on("message", (data, isBinary) => {
      if (isBinary) return;
      const { t, id, ...rest } = JSON.parse(data);
      told.push({ t, id, ...rest });
      if (t === "hello") tell({ t: "welcome", v: 1, sid: "s", key: "k", peer: "cat", caps: [], ice: { servers: SERVERS } });
      else if (t === "join") tell({ t: "joined", id, room: "r", meta: {}, ver: 0, peers: [{ peer, meta: {} }] });
    });
  });
  const hub = await connect(`ws://127.0.0.1:${server.address().port}/`, { WebSocket: globalThis.WebSocket ?? (await import("ws")).default, RTCPeerConnection: Connection });
  try {
    const room = await hub.join("r");
    await test({ hub, peer: room.peers.get(peer), pc: () => Connection.all.at(-1), tell: (frame) => tell(frame), told });
  } finally {
    hub.close();
    server.close();
    for (const socket of server.clients) socket.terminate();
  }
}

test("new ICE servers reach a connection that exists, and those that follow", () =>
  withHub(async ({ hub, pc, tell, peer }) => {
    const servers = [{ urls: "turn:second.example", username: "u", credential: "c" }];
    assert.deepEqual(pc().configurations.at(-1).iceServers, SERVERS);
    tell({ t: "ice", servers, policy: "relay" });
    assert.deepEqual((await next(hub, "ice")).servers, servers);
    assert.equal(pc().configurations.length, 2);
    assert.deepEqual(pc().configurations[1].iceServers, servers);
    assert.equal(pc().configurations[1].iceTransportPolicy, "relay");
    assert.equal(peer.pc, pc());
  }));

test("channels and tracks are put on the connection that takes the place of another", () =>
  withHub(async ({ pc, tell, peer }) => {
    const moves = peer.channel("moves", { ordered: false, maxRetransmits: 0 });
    const [track, gone, stream] = [{ kind: "audio" }, { kind: "video" }, {}];
    pc().getSenders = () => [];
    peer.addTrack(track, stream);
    peer.addTrack(gone);
    peer.removeTrack(gone);
    const first = pc();
    // `cat` is the polite one: a connection of the other side that has begun anew.
    tell({ t: "sig", room: "r", from: "bob", kind: "offer", cid: "bobepoch.0.", data: { sdp: "one", n: 1 } });
    await until(() => first.remoteDescription, "the first offer");
    tell({ t: "sig", room: "r", from: "bob", kind: "offer", cid: "bobepoch.1.", data: { sdp: "two", n: 1 } });
    await until(() => pc() !== first && pc().tracks.length, "another connection");
    const labels = pc().channels.map(({ label }) => label);
    assert.deepEqual(labels, ["meetpoint", "moves"]);
    assert.deepEqual(pc().channels[1], moves.raw);
    assert.deepEqual([moves.raw.ordered, moves.raw.maxRetransmits, moves.raw.id], [false, 0, moves.id]);
    assert.deepEqual(pc().tracks, [[track, [stream]]]);
    assert.equal(first.signalingState, "closed");
  }));

test("candidates that come before their description wait for it", () =>
  withHub(async ({ pc, tell, told }) => {
    const offered = () => told.find(({ t, kind }) => t === "sig" && kind === "offer");
    const connection = pc();
    connection.onnegotiationneeded();
    await until(offered, "an offer");
    const [epoch, tag] = offered().cid.split(".");
    const signal = (kind, data) => tell({ t: "sig", room: "r", from: "bob", kind, data, cid: `bobepoch.0.${epoch}` });
    for (const candidate of ["one", "two"]) signal("cand", { candidate });
    signal("answer", { sdp: "theirs", re: `${tag}.${offered().data.n}` });
    await until(() => connection.candidates.length === 2, "both candidates");
    assert.deepEqual(connection.candidates, [{ candidate: "one" }, { candidate: "two" }]);
  }));

test("nothing is put into a channel that holds half a megabyte, until it says that it has drained", () =>
  withHub(async ({ pc, peer }) => {
    const [channel] = pc().channels;
    const sent = [];
    Object.assign(channel, { readyState: "open", bufferedAmount: 600_000, send: (packet) => sent.push(packet) });
    channel.onopen();
    const sending = peer.send("waits");
    await new Promise((turn) => setTimeout(turn));
    assert.equal(sent.length, 0);
    channel.bufferedAmount = 0;
    channel.onbufferedamountlow();
    await sending;
    assert.equal(sent.length, 1);
  }));

test("an event that the hub repeats after a resume is heard once", () =>
  withHub(async ({ hub, tell }) => {
    const heard = hub.rooms.get("r").on("broadcast");
    for (const [seq, data] of [[1, "a"], [2, "b"], [1, "a"], [2, "b"], [3, "c"]]) tell({ t: "msg", room: "r", from: "bob", seq, data });
    const said = [];
    for (let n = 0; n < 3; n++) said.push((await heard.next()).value.data);
    assert.deepEqual(said, ["a", "b", "c"]);
  }));
