// The price of a symbol: how old it is, where it came from, and the prices seen before it.

import { QUOTE_LIFETIME_MS } from "./account.js";
import { useChanging } from "./changes.js";
import { Line } from "./chart.js";
import { age, clock, timeOfDay } from "./clock.js";
import { html, Money, plural } from "./html.js";
import { centsOf, shown } from "./money.js";

/** A price with its age, which grows while one looks. */
export function PriceAge({ quote }) {
  useChanging(clock);
  const passed = clock.now() - quote.at;
  return html`<span class=${passed < QUOTE_LIFETIME_MS ? "age" : "age old"}>${age(passed)}${passed >= 2000 && " old"}</span>`;
}

/** The quote of a symbol, large, with the chart of the prices seen. */
export function Quote({ account, symbol }) {
  const quote = account.quotes.get(symbol);
  const series = account.seen.of(symbol);
  if (quote === undefined) return html`<p class="empty">No price of ${symbol} yet.</p>`;
  return html`<div class="quote">
    <div class="quote-now">
      <span class="quote-symbol">${symbol}</span>
      <span class="quote-price"><${Money} cents=${quote.cents} /></span>
      <span class="quote-facts">
        <${PriceAge} quote=${quote} />
        <span class=${`tag ${quote.cached ? "" : "tag-new"}`}>${quote.cached ? "cached" : "fresh"}</span>
      </span>
    </div>
    <${Prices} symbol=${symbol} series=${series} />
  </div>`;
}

function Prices({ symbol, series }) {
  const cents = series.map((point) => centsOf(point.price));
  const [low, high] = [cents.reduce((one, other) => (other < one ? other : one)), cents.reduce((one, other) => (other > one ? other : one))];
  const from = timeOfDay(series[0].at);
  const words = `Prices of ${symbol}: ${plural(series.length, "quote")} seen since ${from}, from ${shown(low)} to ${shown(high)}, the latest ${shown(cents.at(-1))}`;
  const points = series.map((point, index) => ({ x: point.at, y: Number(cents[index]) }));
  return html`<figure class="prices">
    ${points.length > 1 && html`<${Line} points=${points} label=${words} dots=${true} />`}
    <figcaption>
      <span>${plural(series.length, "price")} since ${from}</span>
      <span>${low === high ? shown(low) : `${shown(low)} – ${shown(high)}`}</span>
    </figcaption>
  </figure>`;
}
