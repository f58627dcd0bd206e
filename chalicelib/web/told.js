// The events of an account that a person has been told of: each once, by its id, also across visits in this browser.

const MOST_LISTED = 100;

/** Kinds that a command of this page may have caused; its form has said so already. */
const CAUSED = new Set(
  "cash_added order_placed order_committed order_cancelled trigger_set trigger_cancelled".split(" "),
);

export class Told {
  #place;
  #own = new Set();

  /** Events to show, newest first, until they are dismissed. */
  list = [];
  /** Whether more happened than is listed. */
  missed = false;

  /** `viewer` looks at the account of `user`: an operator's look takes no news from the trader. */
  constructor(viewer, user) {
    this.#place = `day-trading.told.${viewer}.${user}`;
    this.last = localStorage.getItem(this.#place);
  }

  /** Note that a command of this page, by its transaction number, has been told of by the form that gave it. */
  own(transaction) {
    this.#own.add(String(transaction));
  }

  /** Begin after this event without telling of it, or of any before it. */
  begin(id) {
    this.last = id;
    localStorage.setItem(this.#place, id);
  }

  /** Take events, oldest first, that came after the last one. */
  add(events) {
    const news = events.filter(({ kind, transaction }) => !CAUSED.has(kind) || !this.#own.has(String(transaction)));
    const all = [...news.toReversed(), ...this.list];
    this.missed ||= all.length > MOST_LISTED;
    this.list = all.slice(0, MOST_LISTED);
    if (events.length > 0) this.begin(events.at(-1).id);
  }

  dismiss(id) {
    this.list = this.list.filter((event) => event.id !== id);
  }

  dismissAll() {
    this.list = [];
    this.missed = false;
  }
}
