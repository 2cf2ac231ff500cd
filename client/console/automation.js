// `window.meetpoint`: the page's functions for scripts and for the console of the browser's developer tools.
//
//   await meetpoint.gather()                          the report of a new test, as "Copy as JSON" gives it
//   await meetpoint.join("room", { policy: "relay" }) policy "all" (default) or "relay"
//   await meetpoint.leave()
//   meetpoint.peers()                                 [{peer, name, state, presence, path}]
//   await meetpoint.connected(n)                      resolves when n peers are connected and show their path
//   meetpoint.send("text")                            number of peers it went to
//   await meetpoint.nextChat()                        {from, text} of the next message that comes in
//   await meetpoint.sendFile(file)                    [{name, size, sha256, remoteSha256, ms, state}] one per peer
//   await meetpoint.nextFile()                        the same for the next file that comes in
//   meetpoint.hub                                     "idle", "connecting", "open", "waiting" or "stopped"
//
// It can do nothing that a click cannot.

import { asJson } from "./report.js";

/** @param {{test: () => Promise<any>, room: import("./room.js").Room, view: import("./view/room.js").RoomView, hub: import("./hub.js").Hub}} page */
export function installAutomation({ test, room, view, hub }) {
  const peers = () => [...room.members.values()].map(({ peer, name, presence, link, path }) => ({
    peer, name, presence, state: link.state, path,
  }));

  /** @param {number} n */
  const connected = (n) => new Promise((resolve) => {
    const check = () => {
      const ready = [...room.members.values()].filter(({ link, path }) => link.chat?.readyState === "open" && path);
      if (ready.length < n) return;
      room.removeEventListener("change", check);
      resolve(peers());
    };
    room.addEventListener("change", check);
    check();
  });

  /** The next event of the room that passes. @param {string} type @param {(detail: any) => boolean} passes @returns {Promise<any>} */
  const next = (type, passes) => new Promise((resolve) => {
    const check = (/** @type {any} */ { detail }) => {
      if (!passes(detail)) return;
      room.removeEventListener(type, check);
      resolve(detail);
    };
    room.addEventListener(type, check);
  });

  /** @param {import("./transfer.js").Transfer} transfer */
  const outcome = async (transfer) => {
    const started = performance.now();
    if (!transfer.ended) await new Promise((resolve) => transfer.addEventListener("end", resolve));
    const { name, size, sha256, remoteSha256, state, error } = transfer;
    return { name, size, sha256, remoteSha256, state, error, ms: performance.now() - started };
  };

  /** @type {any} */ (window).meetpoint = Object.freeze({
    gather: async () => asJson(await test()),
    join: (/** @type {string} */ name, { policy = "all" } = {}) => view.join(name, /** @type {RTCIceTransportPolicy} */ (policy)),
    leave: () => view.leave(),
    peers,
    connected,
    send: (/** @type {string} */ text) => room.send(text),
    nextChat: async () => (await next("feed", ({ entry }) => entry.kind === "chat" && !entry.mine)).entry,
    sendFile: (/** @type {File} */ file) => Promise.all(room.sendFile(file).map(outcome)),
    nextFile: async () => outcome((await next("transfer", ({ transfer }) => transfer.direction === "receive")).transfer),
    get hub() {
      return hub.state;
    },
  });
}
