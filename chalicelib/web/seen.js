// What this tab has seen of an account: past commands, of which the server tells the latest 20, and prices.

const MOST_PAST = 100;
const MOST_PRICES = 60;
const MOST_SYMBOLS = 50;
const OWN_LOOKS = "DISPLAY_SUMMARY"; // the page's own

export class Seen {
  #place;

  constructor(user) {
    this.#place = `day-trading.seen.${user}`;
    const kept = JSON.parse(sessionStorage.getItem(this.#place) ?? "{}");
    this.past = kept.past ?? [];
    this.prices = new Map(kept.prices ?? []);
  }

  /** Put the latest commands, newest first, before what is known; the page's own looks at the account are left out. */
  addHistory(history) {
    const known = new Set(history.map((entry) => entry.transaction));
    const latest = history.filter((entry) => entry.command !== OWN_LOOKS);
    this.past = [...latest, ...this.past.filter((entry) => !known.has(entry.transaction))].slice(0, MOST_PAST);
    this.#keep();
  }

  /** Note a price, in cents as a decimal string, at a time in milliseconds; the same quote twice is one. */
  addPrice(symbol, price, at) {
    const series = this.prices.get(symbol) ?? [];
    if (series.length > 0 && series.at(-1).at >= at) return;
    this.prices.delete(symbol); // the symbol seen last comes last
    this.prices.set(symbol, [...series, { price, at }].slice(-MOST_PRICES));
    while (this.prices.size > MOST_SYMBOLS) this.prices.delete(this.prices.keys().next().value);
    this.#keep();
  }

  of(symbol) {
    return this.prices.get(symbol) ?? [];
  }

  #keep() {
    sessionStorage.setItem(this.#place, JSON.stringify({ past: this.past, prices: [...this.prices] }));
  }
}
