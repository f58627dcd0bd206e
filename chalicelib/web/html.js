// Markup in JavaScript, and the small parts that all views are made of.

import htm from "./htm.js";
import { useState } from "./hooks.js";
import { shown } from "./money.js";
import { h } from "./preact.js";

export const html = htm.bind(h);

/** A part of the page that can be folded; `tools` stand beside its heading, `count` is what it has when it is folded. */
export function Panel({ title, tools, id, children, note, count }) {
  const [folded, setFolded] = useState(false);
  return html`<section class=${`panel ${folded ? "is-folded" : ""}`} aria-labelledby=${`${id}-title`} id=${id}>
    <header class="panel-head">
      <h2 id=${`${id}-title`} tabindex="-1">${title}</h2>
      <button type="button" class="fold" aria-expanded=${!folded} aria-controls=${`${id}-body`} aria-label=${folded ? "Unfold" : "Fold"} aria-describedby=${`${id}-title`} onClick=${() => setFolded(!folded)}></button>
      ${folded && count !== undefined && html`<span class="note">${count}</span>`} ${note && !folded && html`<span class="note">${note}</span>`} ${tools}
    </header>
    <div class="panel-body" id=${`${id}-body`} hidden=${folded}>${children}</div>
  </section>`;
}

/** An amount of money in cents; a dash for one that is not known. */
export function Money({ cents, sign = false }) {
  return cents === null || cents === undefined
    ? html`<span class="money unknown"><span aria-hidden="true">—</span><span class="unseen">not known</span></span>`
    : html`<span class="money">${sign && cents > 0n && "+"}${shown(cents)}</span>`;
}

export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

export const plural = (count, one, many = `${one}s`) => `${String(count).replace(/\B(?=(\d{3})+$)/g, ",")} ${String(count) === "1" ? one : many}`;
