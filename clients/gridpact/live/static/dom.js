// Elements without markup: whatever a home is called, it is text.
const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const $ = (selector, within = document) => within.querySelector(selector);

// Replaces the content only where it is another one, so that what is read aloud or focused stays.
export function put(element, ...children) {
  const fresh = h(element.tagName, {}, children);
  const same = fresh.childNodes.length === element.childNodes.length
    && [...fresh.childNodes].every((child, k) => child.isEqualNode(element.childNodes[k]));
  if (!same) element.replaceChildren(...fresh.childNodes);
}

export function table(head, rows, foot = null) {
  const cell = (tag) => (value, k) => h(tag, k ? { class: "number" } : { scope: tag === "th" ? "row" : null }, value);
  const row = (values) => h("tr", {}, values.map((value, k) => cell(k ? "td" : "th")(value, k)));
  return h("table", {},
    h("thead", {}, h("tr", {}, head.map((value, k) => h("th", { scope: "col", class: k ? "number" : null }, value)))),
    h("tbody", {}, rows.map(row)),
    foot ? h("tfoot", {}, row(foot)) : null);
}
