// Elements without markup in strings: whatever the document says is text.

/** An element with these attributes and children; `null` children are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text in which what stands between backticks is code. */
export function prose(text = "") {
  return text.split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

/** JSON, or whatever else, as a block. */
export function block(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return element("pre", { tabindex: "0" }, element("code", {}, text));
}
