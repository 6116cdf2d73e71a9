// Building the page out of nodes. Text is only ever set as text.

/**
 * @typedef {Record<string, unknown>} Props
 * @typedef {Node | string | number | null | undefined | false} Child
 */

/**
 * An element. `class`, `data-…`, `aria-…` and other attributes by name; `on…` is a listener; true is an empty attribute.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/**
 * The same for SVG.
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {Props} props
 * @param {Child[]} children
 * @returns {E}
 */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on") && typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/**
 * Sets the text of an element if it is another one: an unchanged node costs no layout, and no screen reader repeats it.
 * @param {Element} element
 * @param {string | number} text
 */
export function say(element, text) {
  const said = String(text);
  if (element.textContent !== said) element.textContent = said;
}

/**
 * Sets an attribute if it is another one; null removes it.
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value
 */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Forgets what is kept of who is not there any more.
 * @param {Map<string, unknown> | Set<string>} kept
 * @param {Record<string, unknown>} there
 */
export function keepOnly(kept, there) {
  for (const key of kept.keys()) if (!Object.hasOwn(there, key)) kept.delete(key);
}

/**
 * Children by key, in this order: those that stay keep their elements, and with them focus and animations.
 * @template T
 * @template {Element} E
 * @param {Element} parent
 * @param {Map<string, E>} known
 * @param {[string, T][]} items
 * @param {(item: T, key: string) => E} create
 * @param {(element: E, item: T, key: string) => void} [update]
 */
export function keyed(parent, known, items, create, update) {
  const wanted = new Set(items.map(([key]) => key));
  for (const [key, element] of known) {
    if (!wanted.has(key)) {
      element.remove();
      known.delete(key);
    }
  }
  /** @type {Element | null} */
  let next = parent.firstElementChild;
  for (const [key, item] of items) {
    let element = known.get(key);
    if (!element) {
      element = create(item, key);
      known.set(key, element);
    }
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
    update?.(element, item, key);
  }
}
