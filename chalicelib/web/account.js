// One account as the page knows it, and when the server is asked again.
//
// A look at the account and a quote are commands that are audited, so they are sent when something may have changed:
// after a command, when an order expires, when the page is looked at again, and, while a trigger waits, now and then.

import { Changing } from "./changes.js";
import { clock } from "./clock.js";
import { centsOf } from "./money.js";
import { inWords } from "./problems.js";
import { Seen } from "./seen.js";

export const QUOTE_LIFETIME_MS = 60_000;
const TRIGGERS_EVERY_MS = 15_000;
const LOOKED_AT_AGAIN_MS = 5_000;
const MOST_QUOTES = 12; // asked for by the page itself, at a time
const AFTER_EXPIRY_MS = 300;
const LEAST_PAUSE_MS = 1_000;
const JUST_NOW_MS = 1_000;

export class Account extends Changing {
  #api;
  #refreshing = null;
  #again = false;
  #timers = new Map();
  #cancelled = new Set();
  #closed = false;

  summary = null;
  problem = null;
  quotes = new Map();
  news = "";

  constructor(api, user) {
    super();
    this.#api = api;
    this.user = user;
    this.path = `users/${user}`;
    this.seen = new Seen(user);
  }

  /** Look at the account, and go on looking until what is returned is called. */
  open() {
    const looked = () => {
      if (!document.hidden && performance.now() - this.#lookedAt > LOOKED_AT_AGAIN_MS) this.refresh();
    };
    const reconnected = this.#api.connection.watch(() => {
      if (this.#api.connection.trouble === null) this.refresh();
    });
    document.addEventListener("visibilitychange", looked);
    window.addEventListener("focus", looked);
    this.refresh();
    return () => {
      this.#closed = true;
      reconnected();
      document.removeEventListener("visibilitychange", looked);
      window.removeEventListener("focus", looked);
      for (const timer of this.#timers.values()) clearTimeout(timer);
    };
  }

  #lookedAt = -Infinity;

  /** Look at the account; what is asked for meanwhile is one more look afterwards. */
  async refresh() {
    if (this.#closed || this.#api.lapsed) return;
    if (this.#refreshing !== null) {
      this.#again = true;
      return this.#refreshing;
    }
    this.#refreshing = this.#look();
    try {
      await this.#refreshing;
    } finally {
      this.#refreshing = null;
    }
    if (this.#again) {
      this.#again = false;
      return this.refresh();
    }
  }

  async #look() {
    this.#lookedAt = performance.now();
    try {
      const summary = await this.#api.get(`${this.path}/summary`, { waiting: (why) => this.#fail(why) });
      this.#tellOfTriggers(this.summary, summary);
      this.#tellOfExpired(this.summary, summary);
      this.summary = summary;
      this.problem = null;
      this.seen.addHistory(summary.history);
      this.#plan();
    } catch (error) {
      this.#fail(inWords(error).text);
      return;
    }
    this.changed();
    await this.#quoteWhatIsOld();
  }

  #fail(problem) {
    this.problem = problem;
    this.changed();
  }

  /** Get the price of a symbol, whatever is known; throws what `api.js` throws. */
  async quote(symbol, waiting) {
    const answer = await this.#api.get(`${this.path}/quote/${symbol}`, { waiting });
    this.#note(answer.symbol, answer.price, answer.timestamp, answer.cached);
    this.changed();
    return this.quotes.get(answer.symbol);
  }

  /** Give a command; the account is looked at afterwards. Throws what `api.js` throws. */
  async command(name, body, options) {
    const cancelled = name.startsWith("cancel-set-") ? `${name.slice("cancel-set-".length)} ${body.symbol}` : null;
    this.#cancelled.add(cancelled);
    try {
      return await this.#api.post(`${this.path}/${name}`, body, options);
    } catch (error) {
      this.#cancelled.delete(cancelled);
      throw error;
    } finally {
      this.refresh();
    }
  }

  /** The latest price of a symbol while it may be used, else undefined. */
  usable(symbol) {
    const quote = this.quotes.get(symbol);
    return quote !== undefined && clock.now() - quote.at < QUOTE_LIFETIME_MS ? quote : undefined;
  }

  /** The price of a symbol that the server gave this very second: leaving the field and a click need one only. */
  justGot(symbol) {
    const quote = this.quotes.get(symbol);
    return quote !== undefined && performance.now() - quote.got < JUST_NOW_MS ? quote : undefined;
  }

  /** The symbols of which the account has shares, orders or triggers. */
  get symbols() {
    if (this.summary === null) return [];
    const { holdings, pending_sells: sells, buy_triggers: buys, sell_triggers: offers } = this.summary;
    return [...new Set([...Object.keys(holdings), ...[...sells, ...buys, ...offers].map((item) => item.symbol)])].sort();
  }

  /** Say something to the person: it is shown, and read out. */
  say(news) {
    this.news = news;
    this.changed();
  }

  #note(symbol, price, at, cached) {
    this.quotes.set(symbol, { symbol, cents: centsOf(price), at, cached, got: performance.now() });
    this.seen.addPrice(symbol, price, at);
  }

  async #quoteWhatIsOld() {
    const old = this.symbols.filter((symbol) => this.usable(symbol) === undefined);
    const first = old.sort((one, other) => (this.quotes.get(one)?.at ?? 0) - (this.quotes.get(other)?.at ?? 0));
    for (const symbol of first.slice(0, MOST_QUOTES)) {
      try {
        await this.quote(symbol);
      } catch {
        return; // the price stays the one that it was, with its age; it is asked for again with the next look
      }
    }
  }

  #plan() {
    const orders = [...this.summary.pending_buys, ...this.summary.pending_sells];
    const triggers = [...this.summary.buy_triggers, ...this.summary.sell_triggers];
    const next = Math.min(...orders.map((order) => order.expires_at));
    this.#later("expiry", Number.isFinite(next) ? next - clock.now() + AFTER_EXPIRY_MS : null);
    this.#later("triggers", triggers.some((trigger) => trigger.price !== null) ? TRIGGERS_EVERY_MS : null);
  }

  #later(what, ms) {
    clearTimeout(this.#timers.get(what));
    if (ms === null) return;
    const due = () => {
      if (document.hidden) this.#lookedAt = -Infinity; // then the account is looked at when the page is
      else this.refresh();
    };
    this.#timers.set(what, setTimeout(due, Math.max(ms, LEAST_PAUSE_MS)));
  }

  #tellOfExpired(before, now) {
    for (const side of ["buy", "sell"]) {
      const left = new Set(now[`pending_${side}s`].map((order) => order.expires_at));
      for (const { symbol, shares, expires_at: end } of before?.[`pending_${side}s`] ?? []) {
        if (left.has(end) || end > clock.now()) continue;
        this.news = `The ${side} of ${shares} ${symbol} expired: ${side === "buy" ? "its cash is" : "its shares are"} back.`;
      }
    }
  }

  #tellOfTriggers(before, now) {
    for (const side of ["buy", "sell"]) {
      const left = new Set(now[`${side}_triggers`].map((trigger) => trigger.symbol));
      for (const { symbol, price } of before?.[`${side}_triggers`] ?? []) {
        if (left.has(symbol) || this.#cancelled.delete(`${side} ${symbol}`) || price === null) continue;
        this.news = `The trigger to ${side} ${symbol} fired.`;
      }
    }
  }
}
