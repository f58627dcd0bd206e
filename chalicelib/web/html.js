// Markup in JavaScript, and the small parts that all views are made of.

import htm from "./htm.js";
import { h } from "./preact.js";
import { shown } from "./money.js";

export const html = htm.bind(h);

/** A part of the page with a heading of its own; `tools` stand beside the heading. */
export function Panel({ title, tools, id, children, note }) {
  return html`<section class="panel" aria-labelledby=${`${id}-title`} id=${id}>
    <header class="panel-head">
      <h2 id=${`${id}-title`} tabindex="-1">${title}</h2>
      ${note && html`<span class="note">${note}</span>`} ${tools}
    </header>
    ${children}
  </section>`;
}

/** An amount of money in cents; a dash for one that is not known. */
export function Money({ cents }) {
  return cents === null || cents === undefined
    ? html`<span class="money unknown"><span aria-hidden="true">—</span><span class="unseen">not known yet</span></span>`
    : html`<span class="money">${shown(cents)}</span>`;
}

export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
