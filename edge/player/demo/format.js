/** Small words for times. */

/** A position: `3:07`, `1:02:09`. */
export function clock(ms) {
  const seconds = Math.floor((ms ?? 0) / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, '0') : part)).join(':');
}

/** How long ago, for a person. */
export function ago(at, now = Date.now()) {
  const seconds = Math.max(0, (now - at) / 1000);
  if (seconds < 45) return 'just now';
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(at).toLocaleDateString(undefined, { day: 'numeric', month: 'short' });
}

/** Since when, by the clock on the wall. */
export const since = (at) => new Date(at).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });

/** An element: `el('li', { class: 'film', 'data-testid': 'film' }, 'text', child)`. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'html')
      element.innerHTML = value; // only ever our own drawings
    else if (value !== undefined && value !== false && value !== null)
      element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/**
 * Makes `list` show `items`, keeping the elements of those that stay, so that focus and screen readers are left in peace.
 * `key` names an item; `make` draws one; an item whose JSON has not changed is not drawn again.
 */
export function show(list, items, key, make) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const children = items.map((item) => {
    const drawn = JSON.stringify(item);
    const kept = old.get(key(item));
    if (kept?.dataset.drawn === drawn) return kept;
    const child = make(item);
    child.dataset.key = key(item);
    child.dataset.drawn = drawn;
    return child;
  });
  const held = list.contains(document.activeElement) && document.activeElement;
  const focus = held && [held.closest('[data-key]')?.dataset.key, held.dataset.testid];
  if (children.length !== list.children.length || children.some((child, i) => child !== list.children[i]))
    list.replaceChildren(...children);
  if (focus && !list.contains(document.activeElement))
    children
      .find((child) => child.dataset.key === focus[0])
      ?.querySelector(`[data-testid="${focus[1]}"]`)
      ?.focus();
}
