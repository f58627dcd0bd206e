// The price of a symbol: its age, and the past prices that the system has seen.

import { age, clock, timeOfDay, useChanging } from "./changes.js";
import { Line } from "./chart.js";
import { useEffect, useState } from "./hooks.js";
import { html, Money, plural } from "./html.js";
import { centsOf, shown } from "./money.js";

/** A price with its age, which counts up. */
export function PriceAge({ quote }) {
  useChanging(clock);
  const passed = clock.now() - quote.at;
  return html`<span class=${clock.now() < quote.validUntil ? "age" : "age old"}>${age(passed)}${passed >= 2000 && " old"}</span>`;
}

/** The price of a symbol, large, with a chart of past prices. */
export function Quote({ account, symbol }) {
  const quote = account.prices.get(symbol);
  if (quote === undefined) {
    return html`<p class="empty">${account.unavailable.has(symbol) ? `No price for ${symbol} is available right now. Trying again.` : `No price for ${symbol} yet.`}</p>`;
  }
  return html`<div class="quote">
    <div class="quote-now">
      <span class="quote-symbol">${symbol}</span>
      <span class="quote-price"><${Money} cents=${quote.cents} /></span>
      <span class="quote-facts">
        <${PriceAge} quote=${quote} />
        <span class=${`tag ${quote.cached ? "" : "tag-new"}`}>${quote.cached ? "cached" : "fresh"}</span>
      </span>
    </div>
    <${Prices} account=${account} symbol=${symbol} at=${quote.at} />
  </div>`;
}

function Prices({ account, symbol, at }) {
  const [seen, setSeen] = useState({ symbol, points: [] });
  useEffect(() => {
    let ended = false;
    account.pricesSeen(symbol).then(
      (points) => !ended && setSeen({ symbol, points }),
      () => {}, // without its chart a price is still a price
    );
    return () => {
      ended = true;
    };
  }, [symbol, at]);
  if (seen.symbol !== symbol || seen.points.length === 0) return null;
  const cents = seen.points.map(([, price]) => centsOf(price));
  const [low, high] = [cents.reduce((one, other) => (other < one ? other : one)), cents.reduce((one, other) => (other > one ? other : one))];
  const [first, last] = [timeOfDay(seen.points[0][0]), timeOfDay(seen.points.at(-1)[0])];
  const words = `Prices of ${symbol}: ${plural(cents.length, "minute")} seen from ${first} to ${last}, from ${shown(low)} to ${shown(high)}, the latest ${shown(cents.at(-1))}`;
  const points = seen.points.map(([time], index) => ({ x: time, y: Number(cents[index]) }));
  return html`<figure class="prices">
    ${points.length > 1 &&
    html`<div class="axes">
      <${Line} points=${points} label=${words} dots=${points.length < 60} />
      <div class="axis-y" aria-hidden="true"><span>${shown(high)}</span><span>${low === high ? "" : shown(low)}</span></div>
    </div>`}
    <figcaption><span>${first}</span><span>${plural(points.length, "price")} seen</span><span>${last}</span></figcaption>
  </figure>`;
}
