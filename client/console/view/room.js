// The room panel: the door (name, policy, join), the members, the feed and the composer.

import { randomRoomName, readHash, roomLink, writeHash } from "../link.js";
import { byId, coalesce, makeCopyButton, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { PeerCard } from "./peer.js";

/** Set while in a room, so that a reload of the tab goes back in without asking. */
const REJOIN_KEY = "meetpoint.joined";

export class RoomView {
  /** @type {Map<string, {card: PeerCard, member: object}>} */ #cards = new Map();
  #room;

  /** @param {import("../room.js").Room} room @param {import("../hub.js").Hub} hub @param {string} ownName */
  constructor(room, hub, ownName) {
    this.#room = room;
    this.hub = hub;
    this.feed = new Feed(byId("feed"));
    this.#bindDoor();
    this.#bindComposer();
    setText(byId("own-name"), ownName);
    const update = coalesce(() => this.#update());
    room.addEventListener("change", update);
    hub.addEventListener("state", (e) => this.#hubState(/** @type {CustomEvent} */ (e).detail));
    room.addEventListener("feed", (e) => this.feed.add(/** @type {CustomEvent} */ (e).detail.entry));
    room.addEventListener("transfer", (e) => {
      const { member, transfer } = /** @type {CustomEvent} */ (e).detail;
      this.feed.transfer(transfer, member.name);
    });
    this.#update();
  }

  /** @param {string} name @param {RTCIceTransportPolicy} policy */
  async join(name, policy) {
    this.#showError("");
    this.#room.setPolicy(policy);
    byId("relay-only").checked = policy === "relay";
    byId("room-name").value = name;
    byId("join").disabled = true;
    try {
      await this.#room.join(name);
      writeHash(name, policy);
      sessionStorage.setItem(REJOIN_KEY, name);
      this.feed.note(`You are in ${name}.`);
    } catch (error) {
      this.#showError(error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      byId("join").disabled = false;
      this.#update();
    }
  }

  async leave() {
    sessionStorage.removeItem(REJOIN_KEY);
    const { name } = this.#room;
    await this.#room.leave();
    this.feed.note(`You left ${name}.`);
    this.#update();
  }

  #bindDoor() {
    const { room, policy } = readHash();
    byId("room-name").value = room || randomRoomName();
    byId("relay-only").checked = policy === "relay";
    byId("door").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      const name = byId("room-name").value.trim();
      if (name) this.join(name, this.#chosenPolicy()).catch(() => {});
    });
    byId("relay-only").addEventListener("change", () => {
      if (!this.#room.name) return;
      this.#room.setPolicy(this.#chosenPolicy());
      writeHash(this.#room.name, this.#room.policy);
    });
    byId("leave").addEventListener("click", () => this.leave());
    makeCopyButton(byId("copy-link"), () => roomLink(this.#room.name, "all"));
    makeCopyButton(byId("copy-link-empty"), () => roomLink(this.#room.name, "all"));
    if (room && sessionStorage.getItem(REJOIN_KEY) === room) this.join(room, policy).catch(() => {});
  }

  #bindComposer() {
    byId("composer").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      const input = byId("text");
      if (input.value.trim()) this.#room.send(input.value.trim());
      input.value = "";
    });
    byId("file").addEventListener("change", (/** @type {any} */ { target }) => {
      for (const file of target.files) this.#room.sendFile(file);
      target.value = "";
    });
    const panel = byId("room");
    panel.addEventListener("dragover", (/** @type {DragEvent} */ event) => event.preventDefault());
    panel.addEventListener("drop", (/** @type {DragEvent} */ event) => {
      event.preventDefault();
      for (const file of event.dataTransfer?.files ?? []) this.#room.sendFile(file);
    });
  }

  /** @returns {RTCIceTransportPolicy} */
  #chosenPolicy() {
    return byId("relay-only").checked ? "relay" : "all";
  }

  #update() {
    const { name, members } = this.#room;
    byId("room").dataset.joined = String(Boolean(name));
    setText(byId("room-title"), name || "Room");
    const link = byId("room-link");
    setText(link, name ? roomLink(name, "all") : "");
    byId("alone").hidden = members.size > 0;
    for (const [peer, { card, member }] of this.#cards) {
      if (members.get(peer) === member) continue;
      card.element.remove();
      this.#cards.delete(peer);
    }
    for (const member of members.values()) {
      const known = this.#cards.get(member.peer);
      if (known) { known.card.update(member); continue; }
      const card = new PeerCard(member);
      this.#cards.set(member.peer, { card, member });
      byId("peers").append(card.element);
    }
    const connected = [...members.values()].some(({ link }) => link.chat?.readyState === "open");
    for (const id of ["text", "send", "file"]) byId(id).disabled = !connected;
    byId("attach").dataset.disabled = String(!connected);
  }

  /** @param {{state: string, detail: string}} change */
  #hubState({ state, detail }) {
    const pill = byId("hub-state");
    pill.dataset.state = state;
    setText(pill, { idle: "hub: not connected", connecting: "hub: connecting", open: "hub: connected", waiting: "hub: reconnecting", stopped: "hub: stopped" }[state] ?? state);
    pill.title = detail;
    if (state === "stopped") this.#showError(detail);
  }

  /** @param {string} text */
  #showError(text) {
    setText(byId("room-error"), text);
  }
}
