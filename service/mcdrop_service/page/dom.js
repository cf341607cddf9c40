// Elements from plain calls: no markup is ever parsed from data.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; attributes named `on...` are listeners, false and null are left out. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element, likewise. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

let last = 0;

/** An id that no other element of the page has. */
export function fresh(prefix) {
  last += 1;
  return `${prefix}-${last}`;
}

/** A titled part of the page; `hint` says in one line what it shows. */
export function panel(title, hint, ...children) {
  const id = fresh("panel");
  return h("section", { class: "panel", "aria-labelledby": id },
    h("h2", { id }, title), h("p", { class: "hint" }, hint), ...children);
}
