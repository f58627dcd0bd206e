// Events of an account, in words, and the list of new ones.

import { timeOfDay } from "./changes.js";
import { Button } from "./form.js";
import { html, Panel, plural } from "./html.js";
import { centsOf, shown } from "./money.js";

/** An event as one sentence. An entry of an older version may lack shares or price, which are then left out. */
export function sentenceOf(event) {
  const { kind, side, symbol } = event;
  const money = event.money === undefined ? "" : shown(centsOf(event.money));
  const at = event.price === undefined ? "" : shown(centsOf(event.price));
  const shares = event.shares === undefined ? symbol : `${plural(event.shares, "share")} of ${symbol}`;
  const order = `${shares}${at && ` at ${at}`}${money && ` for ${money}`}`;
  const done = side === "buy" ? "bought" : "sold";
  switch (kind) {
    case "cash_added":
      return `Cash added: ${money}.`;
    case "order_placed":
      return `Order placed: ${side} ${order}.`;
    case "order_committed":
      return `Order committed: ${done} ${order}.`;
    case "order_cancelled":
      return `Order cancelled: ${side} ${order}.`;
    case "order_expired":
      return `Order expired: ${side} ${order}. ${side === "buy" ? "Its cash is" : "Its shares are"} back.`;
    case "trigger_fired":
      return `Trigger fired: ${done} ${order}.`;
    case "trigger_set":
      return `Trigger set: ${side} ${symbol} for ${money} at or ${side === "buy" ? "below" : "above"} ${at}.`;
    case "trigger_cancelled":
      return `Trigger cancelled: ${side} ${symbol} for ${money}.`;
    default:
      return `${kind.replaceAll("_", " ")} ${symbol ?? ""}`.trim();
  }
}

/** The events that no form of this page has reported; each stays until it is dismissed. */
export function News({ account }) {
  const { list, missed } = account.told;
  const dismissAll = () => {
    account.told.dismissAll();
    account.changed();
  };
  const dismiss = (event) => {
    const index = list.indexOf(event);
    account.told.dismiss(event.id);
    account.changed();
    const next = list[index + 1] ?? list[index - 1];
    document.getElementById(`dismiss-${next?.id}`)?.focus();
  };
  const tools = html`<${Button} kind="small quiet" onClick=${dismissAll}>Dismiss all<//>`;
  return html`<div role="log" aria-label="What happened" aria-relevant="additions" class="news">
    ${list.length > 0 &&
    html`<${Panel} id="news" title="What happened" tools=${tools}>
      <ul class="events">
        ${list.map(
          (event) => html`<li key=${event.id}>
            <time datetime=${new Date(event.timestamp).toISOString()}>${timeOfDay(event.timestamp)}</time>
            <span>${sentenceOf(event)}</span>
            <button type="button" class="button small quiet" id=${`dismiss-${event.id}`} aria-label=${`Dismiss: ${sentenceOf(event)}`} onClick=${() => dismiss(event)}>Dismiss</button>
          </li>`,
        )}
      </ul>
      ${missed && html`<p class="note">More happened than is listed here: see the history.</p>`}
    <//>`}
  </div>`;
}

const MOST_LISTED = 100;

/** Kinds that a command of this page may have caused; its form has reported them already. */
const CAUSED = new Set(
  "cash_added order_placed order_committed order_cancelled trigger_set trigger_cancelled".split(" "),
);

/**
 * The events of an account that were shown to the user: each once, by its id, also across visits in this browser.
 * The list lasts as long as its tab, also when the page is reloaded.
 */
export class Told {
  #place;
  #own = new Set();

  /** Events to show, newest first, until they are dismissed. */
  list = [];
  /** Whether there are more events than are listed. */
  missed = false;

  /** `viewer` looks at the account of `user`: events seen by an operator stay new for the trader. */
  constructor(viewer, user) {
    this.#place = `day-trading.told.${viewer}.${user}`;
    Object.assign(this, JSON.parse(sessionStorage.getItem(this.#place)));
    this.last = localStorage.getItem(this.#place);
  }

  /** Note that the form reported the outcome of its command, given by its transaction number. */
  own(transaction) {
    this.#own.add(String(transaction));
  }

  /** Start after this event, without showing it or any before it. */
  begin(id) {
    this.last = id;
    localStorage.setItem(this.#place, id);
  }

  /** Add events, oldest first, that came after the last one. */
  add(events) {
    const news = events.filter(({ kind, transaction }) => !CAUSED.has(kind) || !this.#own.has(String(transaction)));
    const all = [...news.toReversed(), ...this.list];
    this.missed ||= all.length > MOST_LISTED;
    this.#show(all.slice(0, MOST_LISTED));
    if (events.length > 0) this.begin(events.at(-1).id);
  }

  dismiss(id) {
    this.#show(this.list.filter((event) => event.id !== id));
  }

  dismissAll() {
    this.missed = false;
    this.#show([]);
  }

  #show(list) {
    this.list = list;
    sessionStorage.setItem(this.#place, JSON.stringify(this));
  }
}
