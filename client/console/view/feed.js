// The room's one stream of events: notes, chat, files.

import { coalesce, formatBytes, formatRate, h, setText } from "./dom.js";

/** @typedef {import("../transfer.js").Transfer} Transfer */

/** Older entries are dropped: the page may stay open for days. */
const MAX_ENTRIES = 200;

export class Feed {
  /** @param {HTMLElement} list */
  constructor(list) {
    this.list = list;
  }

  /** @param {import("../room.js").Entry} entry */
  add({ kind, from, text, mine }) {
    this.#append(h("li", { class: kind, "data-mine": String(mine) }, h("b", {}, from), " ", h("span", {}, text)));
  }

  /** @param {string} text */
  note(text) {
    this.#append(h("li", { class: "note" }, h("span", {}, text)));
  }

  /** @param {Transfer} transfer @param {string} peer display name */
  transfer(transfer, peer) {
    const bar = h("progress", { max: Math.max(1, transfer.size), value: 0, "aria-label": `progress of ${transfer.name}` });
    const state = h("span", { class: "state" });
    const hash = h("code", { class: "hash" });
    const actions = h("span", { class: "actions" });
    const item = h("li", { class: "file" },
      h("header", {}, h("b", {}, transfer.name), h("span", {}, transfer.direction === "send" ? `to ${peer}` : `from ${peer}`), actions),
      bar, state, hash);
    if (transfer.accept) {
      const accept = h("button", { onclick: () => { transfer.accept?.(); accept.remove(); } }, `Accept ${formatBytes(transfer.size)}`);
      // Small files accept themselves right after this call.
      queueMicrotask(() => { if (transfer.accept) actions.prepend(accept); });
    }
    const cancel = h("button", { class: "quiet", onclick: () => transfer.cancel() }, "Cancel");
    actions.append(cancel);
    const update = () => this.#keepEnd(() => {
      item.dataset.state = transfer.state;
      bar.value = transfer.size === 0 && transfer.ended ? 1 : transfer.done;
      setText(state, describe(transfer));
      if (!transfer.ended) return;
      cancel.remove();
      bar.hidden = true;
      setText(hash, transfer.sha256 ? `SHA-256 ${transfer.sha256}` : "");
      if (transfer.state === "verified" && transfer.blob) actions.replaceChildren(saveLink(transfer.name, transfer.blob));
    });
    transfer.addEventListener("change", coalesce(update, 100));
    transfer.addEventListener("end", update);
    update();
    this.#append(item);
  }

  /** @param {HTMLElement} item */
  #append(item) {
    this.#keepEnd(() => {
      this.list.append(item);
      while (this.list.childElementCount > MAX_ENTRIES) this.list.firstElementChild?.remove();
    });
  }

  /** Whoever reads the end goes on reading the end; whoever scrolled back is left there. @param {() => void} change */
  #keepEnd(change) {
    const { list } = this;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    change();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

/** @param {Transfer} transfer */
function describe(transfer) {
  const { state, done, size, rate, direction, error } = transfer;
  if (state === "failed") return `failed: ${error}`;
  if (state === "verified") return `${formatBytes(size)} at ${formatRate(rate)}, both ends hashed the same bytes`;
  if (state === "waiting") return direction === "send" ? "waiting for the other side to accept" : "not accepted yet";
  return `${formatBytes(done)} of ${formatBytes(size)} at ${formatRate(rate)}`;
}

/** The object URL lives as long as the page, as the link does. @param {string} name @param {Blob} blob */
function saveLink(name, blob) {
  return h("a", { class: "button", href: URL.createObjectURL(blob), download: name }, "Save");
}
