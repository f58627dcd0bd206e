// Markup in JavaScript, and the small parts that all views use.

import htm from "./htm.js";
import { useState } from "./hooks.js";
import { shown } from "./money.js";
import { h } from "./preact.js";

const LONG = 8; // longer lists are folded to this length

export const html = htm.bind(h);

/** A part of the page that can be folded; `tools` are beside its heading, `count` is shown while it is folded. */
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

/** An amount of money in cents; a dash if it is not known. */
export function Money({ cents, sign = false }) {
  return cents === null || cents === undefined
    ? html`<span class="money unknown"><span aria-hidden="true">—</span><span class="unseen">not known</span></span>`
    : html`<span class="money">${sign && cents > 0n && "+"}${shown(cents)}</span>`;
}

export function Empty({ children }) {
  return html`<p class="empty">${children}</p>`;
}

export const plural = (count, one, many = `${one}s`) => `${String(count).replace(/\B(?=(\d{3})+$)/g, ",")} ${String(count) === "1" ? one : many}`;

/** Save a file as a download. */
export function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser reads it later
}

/**
 * The visible part of `all`: `sorts` are comparisons by their label, `text` returns what the filter searches.
 * Without a sort the order stays as given.
 */
export function useList(all, { text, sorts, limit = LONG }) {
  const [filter, setFilter] = useState("");
  const [sort, setSort] = useState("");
  const [whole, setWhole] = useState(false);
  const wanted = filter.trim().toUpperCase();
  const found = all.filter((item) => text(item).toUpperCase().includes(wanted));
  const sorted = sort in sorts ? found.toSorted(sorts[sort]) : found;
  return {
    items: whole ? sorted : sorted.slice(0, limit),
    count: all.length,
    found: found.length,
    isLong: all.length > limit,
    limit, sorts, filter, setFilter, sort, setSort, whole, setWhole,
  };
}

export function ListTools({ list, name }) {
  if (!list.isLong) return null;
  const names = Object.keys(list.sorts);
  return html`<div class="list-tools">
    <input type="search" class="plain" aria-label=${`Filter ${name} by symbol`} placeholder="Symbol" maxlength="3" value=${list.filter} onInput=${(event) => list.setFilter(event.currentTarget.value)} />
    ${names.length > 0 &&
    html`<select class="plain" aria-label=${`Sort ${name}`} value=${list.sort} onChange=${(event) => list.setSort(event.currentTarget.value)}>
      <option value="">By symbol</option>
      ${names.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
    </select>`}
    <button type="button" class="button small" aria-expanded=${list.whole} onClick=${() => list.setWhole(!list.whole)}>${list.whole ? `First ${list.limit}` : `All ${list.found}`}</button>
  </div>`;
}
