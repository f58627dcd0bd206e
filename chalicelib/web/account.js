// An account as the page knows it. It is polled while the page is visible; a read is not a command, and a read of an
// unchanged account is answered 304.

import { throwFault } from "./api.js";
import { Changing, clock, timeOfDay } from "./changes.js";
import { Told } from "./events.js";
import { centsOf } from "./money.js";

const EVERY_MS = 20_700; // a little before the eleventh health check (`connection.js`), which this read replaces
const PENDING_EVERY_MS = 1_500; // while an order is pending: it expires, and may be settled elsewhere
const PRICES_EVERY_MS = 15_000;
const QUOTE_LIFETIME_MS = 60_000;
const MOST_SYMBOLS = 50; // in one request
const SPREAD_MS = 5_000; // pages whose price expires at the same moment read it again within this time
const TYPING_MS = 250; // "A" and "AB" are not requested while "ABC" is typed
const MOST_ROUNDS = 3; // of 200 events each; older ones are in the history
const NO_EVENT = "0.0";

export class Account extends Changing {
  #api;
  #reading = null;
  #again = false;
  #asked = new Set(); // symbols whose prices are being read
  #typing = null;
  #pricedAt = -Infinity;
  #timer = null;
  #closed = true;
  #inFlight = 0;
  #held = [];
  #watched = new Map();

  view = null;
  problem = null;
  prices = new Map();
  unavailable = new Set();

  /** The account of `user`, as `viewer` sees it. */
  constructor(api, user, viewer = user) {
    super();
    this.#api = api;
    this.user = user;
    this.path = `users/${user}`;
    this.told = new Told(viewer, user);
    this.#last = this.told.last;
  }

  #last; // the id of the last event read

  /** Poll the account until the returned function is called. */
  open() {
    this.#closed = false;
    const look = () => this.#look();
    const reconnected = this.#api.connection.watch(() => {
      if (this.#api.connection.trouble === null) look();
    });
    document.addEventListener("visibilitychange", look);
    window.addEventListener("focus", look);
    look();
    return () => {
      this.#closed = true;
      reconnected();
      clearTimeout(this.#timer);
      clearTimeout(this.#typing);
      document.removeEventListener("visibilitychange", look);
      window.removeEventListener("focus", look);
    };
  }

  #look() {
    this.#plan();
    if (document.hidden) return;
    this.refresh();
    const due = performance.now() - this.#pricedAt > PRICES_EVERY_MS;
    if (due) this.#pricedAt = performance.now();
    this.#priceMissing(due ? this.#seenSymbols : undefined);
  }

  #plan() {
    clearTimeout(this.#timer);
    const waits = this.view?.pending_buys.length || this.view?.pending_sells.length;
    if (!this.#closed) this.#timer = setTimeout(() => this.#look(), waits ? PENDING_EVERY_MS : EVERY_MS);
  }

  /** Read the account; calls during a read cause one more read after it. */
  async refresh() {
    if (this.#closed || this.#api.lapsed) return;
    if (this.#reading !== null) {
      this.#again = true;
      return this.#reading;
    }
    this.#reading = this.#read();
    try {
      await this.#reading;
    } finally {
      this.#reading = null;
    }
    if (this.#again) {
      this.#again = false;
      return this.refresh();
    }
  }

  async #read() {
    const before = this.symbols;
    try {
      const headers = this.view === null ? {} : { "If-None-Match": `"${this.view.version}"` };
      const askedAt = performance.now();
      const view = await this.#ask(this.#last, headers);
      this.#api.connection.known(askedAt);
      if (view !== null) await this.#take(view);
      this.readAt = clock.now();
      this.#say(null);
    } catch (error) {
      throwFault(error);
      this.#say(this.view === null ? "The account could not be read yet. Trying again…" : `The account could not be read since ${timeOfDay(this.readAt)}.`);
      return;
    }
    this.#price(this.symbols.filter((symbol) => !before.includes(symbol)));
  }

  #say(problem) {
    if (this.problem === problem) return;
    this.problem = problem;
    this.changed();
  }

  #ask(after, headers = {}) {
    const query = after === null ? "" : `?after=${after}`;
    return this.#api.get(`${this.path}/account${query}`, { headers, patienceMs: 0 });
  }

  /** Take an account and the events since the last read; at the first read in this browser no event counts as new. */
  async #take(view) {
    let read = view;
    if (this.#last === null) {
      this.#last = view.events[0]?.id ?? NO_EVENT;
      this.told.begin(this.#last);
    } else {
      for (let round = 1; ; round += 1) {
        this.#held.push(...read.events);
        this.#last = read.events.at(-1)?.id ?? this.#last;
        if (!read.more) break;
        const enough = round === MOST_ROUNDS;
        read = await this.#ask(enough ? null : this.#last);
        if (!enough) continue;
        this.#held.push(...read.events.toReversed());
        this.#last = read.events[0].id;
        this.told.missed = true;
        break;
      }
    }
    this.view = read;
    this.#tell();
    this.#plan();
    this.changed();
  }

  /** Show events once it is known which of them this page has caused. */
  #tell() {
    if (this.#inFlight > 0) return;
    this.told.add(this.#held);
    this.#held = [];
  }

  /** Send a command, then read the account. Throws what `api.js` throws. */
  async command(name, body, options) {
    this.#inFlight += 1;
    try {
      const answer = await this.#api.post(`${this.path}/${name}`, body, options);
      this.told.own(answer.transaction);
      return answer;
    } finally {
      this.#inFlight -= 1;
      this.#tell();
      this.refresh();
    }
  }

  /** Send the command QUOTE and return the price; throws what `api.js` throws. */
  async quote(symbol, options) {
    await this.#api.get(`${this.path}/quote/${symbol}`, options);
    return this.price(symbol, options);
  }

  /** Return the current price of a symbol without a command; throws what `api.js` throws, or NoPrice. */
  async price(symbol, options) {
    await this.#readPrices([symbol], options);
    if (this.unavailable.has(symbol)) throw new NoPrice(symbol);
    return this.prices.get(symbol);
  }

  /** Keep a symbol's price up to date for a part of the page; "" for no symbol. */
  watchPrice(part, symbol) {
    if ((this.#watched.get(part) ?? "") === symbol) return;
    this.#watched.set(part, symbol);
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#priceMissing(), TYPING_MS);
  }

  get #watchedSymbols() {
    return [...this.#watched.values()].filter((symbol) => symbol !== "");
  }

  get #seenSymbols() {
    return [...this.symbols, ...this.#watchedSymbols];
  }

  /** Read the prices of all symbols on the page. */
  refreshPrices() {
    return this.#price(this.#seenSymbols);
  }

  /** Read the prices that have expired, by default of the symbols in forms only: the others cannot have changed. */
  #priceMissing(symbols = this.#watchedSymbols) {
    return this.#price(symbols.filter((symbol) => this.current(symbol) === undefined));
  }

  /** Read the prices of symbols, except those being read already: a slow one does not delay the others. */
  async #price(symbols) {
    const wanted = [...new Set(symbols)].filter((symbol) => !this.#asked.has(symbol));
    for (let at = 0; at < wanted.length; at += MOST_SYMBOLS) {
      if (this.#closed || this.#api.lapsed) return;
      const some = wanted.slice(at, at + MOST_SYMBOLS);
      some.forEach((symbol) => this.#asked.add(symbol));
      try {
        await this.#readPrices(some, { patienceMs: 0 });
      } catch (error) {
        throwFault(error);
        return; // the last price stays, with its age
      } finally {
        some.forEach((symbol) => this.#asked.delete(symbol));
      }
    }
  }

  async #readPrices(symbols, options) {
    const answer = await this.#api.get(`${this.path}/prices?symbols=${symbols.join(",")}`, options);
    for (const [symbol, { price, valid_until: validUntil, cached }] of Object.entries(answer.prices)) {
      this.unavailable.delete(symbol);
      const at = validUntil - QUOTE_LIFETIME_MS; // when it was requested, by the server's clock
      this.prices.set(symbol, { symbol, cents: centsOf(price), at, validUntil, cached });
      const renew = () => document.hidden || this.#priceMissing(this.#watchedSymbols.filter((name) => name === symbol));
      setTimeout(renew, Math.max(0, validUntil - clock.now()) + SPREAD_MS * Math.random());
    }
    for (const symbol of answer.unavailable) this.unavailable.add(symbol);
    this.changed();
  }

  /** The price of a symbol while the server trades at it, else undefined. */
  current(symbol) {
    const price = this.prices.get(symbol);
    return price !== undefined && clock.now() < price.validUntil ? price : undefined;
  }

  /** Return the past prices of a symbol in the system, `[[ms, "12.34"], ...]`; throws what `api.js` throws. */
  async pricesSeen(symbol) {
    return (await this.#api.get(`prices/${symbol}/history`, { patienceMs: 0 })).points;
  }

  /** The symbols that the account holds or has orders or triggers for. */
  get symbols() {
    if (this.view === null) return [];
    const { positions, pending_buys: bids, buy_triggers: buys, sell_triggers: sells } = this.view;
    return [...new Set([...Object.keys(positions), ...[...bids, ...buys, ...sells].map((item) => item.symbol)])].sort();
  }
}

/** No price was available. */
export class NoPrice extends Error {
  code = "quote_unavailable";
  status = 503;
  uncertain = false;
  mayBeDone = false;
}
