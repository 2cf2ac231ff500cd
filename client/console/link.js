// The room in the URL's fragment, which never leaves the browser by itself: `#room=amber-otter-k7qf&policy=relay`.

const WORDS = [
  ["amber", "azure", "brave", "calm", "clear", "coral", "dusky", "early", "fleet", "golden", "ivory", "lucid", "mellow", "quiet", "silver", "vivid"],
  ["badger", "crane", "falcon", "finch", "gecko", "heron", "ibis", "lynx", "marten", "otter", "plover", "puffin", "robin", "swift", "tern", "wren"],
];
/** Without look-alikes, because rooms are read out over the phone. */
const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";

/** @returns {{room: string, policy: RTCIceTransportPolicy}} */
export function readHash() {
  const fields = new URLSearchParams(location.hash.slice(1));
  return { room: fields.get("room") ?? "", policy: fields.get("policy") === "relay" ? "relay" : "all" };
}

/** @param {string} room @param {RTCIceTransportPolicy} policy */
export function roomLink(room, policy) {
  const fields = new URLSearchParams({ room });
  if (policy === "relay") fields.set("policy", policy);
  const url = new URL(location.href);
  url.hash = fields.toString();
  return url.href;
}

/** @param {string} room @param {RTCIceTransportPolicy} policy */
export function writeHash(room, policy) {
  history.replaceState(null, "", roomLink(room, policy));
}

/** Two words. */
export function randomName() {
  const random = crypto.getRandomValues(new Uint8Array(2));
  return WORDS.map((words, i) => words[random[i] % words.length]).join("-");
}

/** Two words and six letters: 37 bits, so that strangers do not meet by chance. */
export function randomRoomName() {
  const random = crypto.getRandomValues(new Uint8Array(6));
  return `${randomName()}-${[...random].map((byte) => LETTERS[byte % LETTERS.length]).join("")}`;
}
