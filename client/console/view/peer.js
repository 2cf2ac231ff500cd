// One card per member of the room, updated in place so that nothing under a finger or a focus ring is replaced.

import { bracket } from "../gather.js";
import { ms } from "../verdict.js";
import { formatBytes, formatRate, h, setText } from "./dom.js";

/** @typedef {import("../room.js").Member} Member */

/** In units of the drawing, which is stretched to the card. */
const SPARK_WIDTH = 390;
const SPARK_HEIGHT = 22;
const SAMPLES = 40;
const SVG = "http://www.w3.org/2000/svg";

export class PeerCard {
  #state = h("span", { class: "pill" });
  #presence = h("span", { class: "presence" });
  #name = h("strong");
  #route = h("p", { class: "route mono" });
  #numbers = h("p", { class: "numbers mono" });
  #line = document.createElementNS(SVG, "polyline");
  #retry;

  /** @param {Member} member */
  constructor(member) {
    this.#retry = h("button", { class: "quiet", onclick: () => member.link.restart() }, "Try again");
    const spark = document.createElementNS(SVG, "svg");
    spark.setAttribute("viewBox", `0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}`);
    spark.setAttribute("class", "spark");
    spark.setAttribute("preserveAspectRatio", "none");
    spark.setAttribute("aria-hidden", "true");
    spark.append(this.#line);
    this.element = h("li", { class: "peer", "data-peer": member.peer },
      h("header", {}, this.#name, h("code", { title: member.peer }, member.peer.slice(0, 8)), this.#presence, this.#retry, this.#state),
      this.#route,
      this.#numbers,
      spark);
    this.update(member);
  }

  /** @param {Member} member */
  update(member) {
    const { link, path, presence, rates } = member;
    const connected = link.state === "connected" && path;
    const kind = connected ? (path.relayed ? "relay" : "direct") : link.state;
    this.element.dataset.state = kind;
    setText(this.#name, member.name);
    setText(this.#state, /** @type {Record<string, string>} */ (WORDS)[kind] ?? kind);
    setText(this.#presence, { here: "", away: "away from the hub", gone: "left the hub, link lives" }[presence]);
    this.#retry.hidden = link.state !== "failed";
    setText(this.#route, connected ? `${describe(path.local)} ⇄ ${describe(path.remote)}` : HINTS[link.state] ?? "");
    setText(this.#numbers, connected ? numbers(path) : "");
    this.#draw(connected ? rates : []);
  }

  /** @param {number[]} rates */
  #draw(rates) {
    const top = Math.max(8_000, ...rates);
    const points = rates.map((rate, i) => {
      const x = SPARK_WIDTH - (rates.length - 1 - i) * (SPARK_WIDTH / (SAMPLES - 1));
      return `${x.toFixed(1)},${(SPARK_HEIGHT - 1 - (rate / top) * (SPARK_HEIGHT - 3)).toFixed(1)}`;
    });
    this.#line.setAttribute("points", points.join(" "));
  }
}

const WORDS = { new: "waiting for its offer", connecting: "connecting", recovering: "recovering", failed: "failed" };

/** @type {Record<string, string>} */
const HINTS = {
  failed: "No path found. With “relay only” both sides need a working relay.",
  recovering: "The path was lost; looking for another one.",
};

/** @param {import("../stats.js").End} end */
function describe({ type, address, port, protocol }) {
  return `${type}/${protocol}${address ? ` ${bracket(address)}:${port}` : ""}`;
}

/** @param {import("../stats.js").Path} path */
function numbers({ rtt, up, down, sent, received }) {
  return [
    rtt === null ? "" : `RTT ${ms(rtt)}`,
    `↑ ${formatRate(up)}`,
    `↓ ${formatRate(down)}`,
    formatBytes(sent + received),
  ].filter(Boolean).join(" · ");
}
