// Long lists: a filter, an order, and no more of them at first than fit on a screen.

import { useState } from "./hooks.js";
import { html } from "./html.js";

const LONG = 8;

/**
 * What is seen of `all`: `sorts` are comparisons by the name that a person reads, `text` is what the filter looks into.
 * Without a choice they stay in the order given.
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
