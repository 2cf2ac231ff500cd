// One room: who is in it, and a link to each of them.
//
// Signaling and links fail apart: when the hub is away, members and links stay as they are. A member leaves the list
// when the hub says it left *and* its link is down.
// Events: `change` (members or their links), `feed` {entry}, `transfer` {member, transfer}.

import { Link } from "./negotiate.js";
import { PathSampler } from "./stats.js";
import { PROTOCOL, receiveFile, sendFile } from "./transfer.js";

/** Newcomers offer; an elder that has waited this long does it itself. */
const ELDER_PATIENCE_MS = 3_000;
const SAMPLE_MS = 1_000;
const MAX_TEXT_CHARS = 4_000;

/**
 * @typedef {object} Member
 * @property {string} peer
 * @property {string} name
 * @property {"here" | "away" | "gone"} presence  what the hub knows; "gone" while only the link still lives
 * @property {Link} link
 * @property {PathSampler} sampler
 * @property {import("./stats.js").Path | null} path
 * @property {number[]} rates   the last samples of up + down, for the sparkline
 *
 * @typedef {{kind: "note" | "chat", from: string, text: string, mine: boolean}} Entry
 */

export class Room extends EventTarget {
  name = "";
  /** @type {Map<string, Member>} */ members = new Map();
  /** @type {RTCIceTransportPolicy} */ policy = "all";
  /** @type {RTCIceServer[]} */ #servers = [];
  /** What the operator asks of every client. @type {RTCIceTransportPolicy} */ #serverPolicy = "all";
  #hub;

  /** @param {import("./hub.js").Hub} hub */
  constructor(hub) {
    super();
    this.#hub = hub;
    hub.addEventListener("joined", (e) => this.#joined(/** @type {CustomEvent} */ (e).detail));
    hub.addEventListener("peer", (e) => this.#presence(/** @type {CustomEvent} */ (e).detail));
    hub.addEventListener("sig", (e) => this.#signal(/** @type {CustomEvent} */ (e).detail));
    hub.addEventListener("ice", (e) => {
      const { servers, policy } = /** @type {CustomEvent} */ (e).detail;
      this.#serverPolicy = policy ?? "all";
      this.configure(servers);
    });
    setInterval(() => this.#sample(), SAMPLE_MS);
  }

  /** @param {string} name */
  async join(name) {
    if (this.name) await this.leave();
    this.name = name;
    try {
      await this.#hub.join(name);
    } catch (error) {
      this.name = "";
      throw error;
    }
    this.#changed();
  }

  async leave() {
    const name = this.name;
    this.name = "";
    for (const member of this.members.values()) {
      this.#hub.send({ t: "sig", room: name, to: member.peer, kind: "bye" });
      member.link.close();
    }
    this.members.clear();
    await this.#hub.leave(name).catch(() => {});
    this.#changed();
  }

  /** Servers for the connections to come and, by setConfiguration, for those that are. @param {RTCIceServer[]} servers */
  configure(servers) {
    this.#servers = servers;
    for (const { link } of this.members.values()) link.configure(this.#configuration);
  }

  /** @param {RTCIceTransportPolicy} policy */
  setPolicy(policy) {
    if (policy === this.policy) return;
    this.policy = policy;
    for (const { link } of this.members.values()) {
      link.configure(this.#configuration);
      link.renew();
    }
  }

  /** @param {string} text @returns {number} how many links took it */
  send(text) {
    const cut = text.slice(0, MAX_TEXT_CHARS);
    const open = [...this.members.values()].filter(({ link }) => link.chat?.readyState === "open");
    for (const { link } of open) link.chat?.send(cut);
    this.#feed({ kind: "chat", from: "you", text: cut, mine: true });
    return open.length;
  }

  /** @param {File} file @param {string} [to]  one peer, or everyone who is connected */
  sendFile(file, to) {
    const chosen = [...this.members.values()].filter(({ peer, link }) => (!to || peer === to) && link.state === "connected");
    return chosen.map((member) => {
      const transfer = sendFile(/** @type {RTCPeerConnection} */ (member.link.connection), file);
      this.#emit("transfer", { member, transfer });
      return transfer;
    });
  }

  /** @param {any} message */
  async #joined({ room, peers, more }) {
    if (room !== this.name) return;
    const listed = new Set();
    for (let page = { peers, more }; page; ) {
      for (const { peer, meta } of page.peers ?? []) {
        if (peer === this.#hub.peer) continue;
        listed.add(peer);
        this.#member(peer, meta).link.resume();
      }
      page = page.more ? await this.#hub.request({ t: "who", room, after: page.more }).catch(() => null) : null;
    }
    // Joined again after a long absence: whoever is not listed left meanwhile, but a living link outlives the list.
    for (const member of this.members.values()) if (!listed.has(member.peer)) this.#left(member);
    this.#changed();
  }

  /** @param {any} event */
  #presence({ room, ev, peer, meta, why }) {
    if (room !== this.name || peer === this.#hub.peer) return;
    const known = this.members.get(peer);
    if (ev === "leave") return known && this.#left(known, why);
    if (ev === "away" && known) known.presence = "away";
    if (ev === "join" || ev === "back" || ev === "meta") {
      const member = this.#member(peer, meta);
      if (ev === "join" && !known) {
        this.#feed({ kind: "note", from: member.name, text: "joined", mine: false });
        setTimeout(() => { if (this.members.get(peer) === member) member.link.offer(); }, ELDER_PATIENCE_MS);
      }
    }
    this.#changed();
  }

  /** @param {any} signal */
  #signal({ room, from, kind, data, cid }) {
    if (room !== this.name) return;
    this.#member(from).link.handle({ kind, data, cid });
  }

  /** The member, made on first sight: a signal may come before the list does. @param {string} peer @param {any} [meta] @returns {Member} */
  #member(peer, meta) {
    const known = this.members.get(peer);
    if (known && known.link.state !== "closed") {
      known.presence = "here";
      if (meta?.name) known.name = displayName(meta.name);
      return known;
    }
    const link = new Link({
      polite: this.#hub.peer > peer,
      configuration: this.#configuration,
      send: (signal) => this.#hub.send({ t: "sig", room: this.name, to: peer, ...signal }),
    });
    /** @type {Member} */
    const member = {
      peer, link, presence: "here", path: null, rates: [],
      name: displayName(meta?.name ?? known?.name ?? peer), sampler: new PathSampler(),
    };
    this.members.set(peer, member);
    this.#watch(member);
    return member;
  }

  /** @param {Member} member */
  #watch(member) {
    const { link } = member;
    link.addEventListener("state", () => {
      if (link.state === "closed" && this.members.get(member.peer) === member) this.#left(member);
      if (link.state === "connected") this.#sample();
      else member.path = null;
      this.#changed();
    });
    link.addEventListener("open", () => this.#changed());
    link.addEventListener("chat", (e) => {
      const text = /** @type {CustomEvent} */ (e).detail.text.slice(0, MAX_TEXT_CHARS);
      this.#feed({ kind: "chat", from: member.name, text, mine: false });
    });
    link.addEventListener("channel", (e) => {
      const { channel } = /** @type {CustomEvent} */ (e).detail;
      if (channel.protocol !== PROTOCOL) return channel.close();
      receiveFile(channel, (transfer) => this.#emit("transfer", { member, transfer }));
    });
    link.addEventListener("error", (e) => {
      const { error } = /** @type {CustomEvent} */ (e).detail;
      this.#feed({ kind: "note", from: member.name, text: `negotiation: ${error.message}`, mine: false });
    });
  }

  /** @param {Member} member */
  #left(member, why = "") {
    member.presence = "gone";
    if (member.link.state === "connected" && why !== "leave") return this.#changed();
    this.members.delete(member.peer);
    member.link.close();
    this.#feed({ kind: "note", from: member.name, text: "left", mine: false });
    this.#changed();
  }

  async #sample() {
    for (const member of this.members.values()) {
      const { connection, state } = member.link;
      if (!connection || state !== "connected") continue;
      member.path = await member.sampler.sample(connection).catch(() => null);
      member.rates = [...member.rates, (member.path?.up ?? 0) + (member.path?.down ?? 0)].slice(-40);
    }
    if (this.members.size > 0) this.#changed();
  }

  /** @returns {RTCConfiguration} */
  get #configuration() {
    const relayOnly = this.policy === "relay" || this.#serverPolicy === "relay";
    return { iceServers: this.#servers, iceTransportPolicy: relayOnly ? "relay" : "all" };
  }

  #changed() {
    this.#emit("change", {});
  }

  /** @param {Entry} entry */
  #feed(entry) {
    this.#emit("feed", { entry });
  }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Names come from other people. @param {unknown} name */
function displayName(name) {
  return String(name).slice(0, 32);
}
