// The little that the views need of a framework.

/**
 * Makes an element. Properties are set as properties (so text is never parsed as HTML), `class`, `aria-*` and `data-*`
 * as attributes, `on*` as listeners.
 * @param {string} tag @param {Record<string, any>} [properties] @param {...(Node | string | null | false)} children
 * @returns {any}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class" || name === "role" || name.includes("-")) element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  return document.getElementById(id);
}

/** Sets text only when it differs, so that screen readers and selections are left alone. @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Runs once for many calls. A timer, not an animation frame: hidden tabs get no frames.
 * @param {() => void} work
 */
export function coalesce(work, wait = 40) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    setTimeout(() => { due = false; work(); }, wait);
  };
}

/** @param {number} bits per second */
export function formatRate(bits) {
  if (bits >= 1e9) return `${(bits / 1e9).toFixed(2)} Gbit/s`;
  if (bits >= 1e6) return `${(bits / 1e6).toFixed(bits >= 1e8 ? 0 : 1)} Mbit/s`;
  if (bits >= 1e3) return `${Math.round(bits / 1e3)} kbit/s`;
  return `${Math.round(bits)} bit/s`;
}

/** @param {number} bytes */
export function formatBytes(bytes) {
  if (bytes >= 1 << 30) return `${(bytes / (1 << 30)).toFixed(2)} GiB`;
  if (bytes >= 1 << 20) return `${(bytes / (1 << 20)).toFixed(1)} MiB`;
  if (bytes >= 1 << 10) return `${Math.round(bytes / (1 << 10))} KiB`;
  return `${bytes} B`;
}

/** The clipboard API is missing on pages without TLS; the old way still works there. @param {string} text */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = h("textarea", { value: text, class: "offscreen" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** A button that copies and says so. @param {HTMLButtonElement} button @param {() => string} text */
export function makeCopyButton(button, text) {
  const label = button.textContent ?? "";
  button.addEventListener("click", async () => {
    const copied = await copyText(text()).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Not allowed";
    setTimeout(() => { button.textContent = label; }, 1_500);
  });
}
