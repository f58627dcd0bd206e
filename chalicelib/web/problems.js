// Errors in words, with the field each belongs to.

import { GivenUp, Unreachable } from "./api.js";

const WORDS = {
  invalid_amount: ["amount", "The server does not accept this amount."],
  invalid_symbol: ["symbol", "A symbol is 1 to 3 letters, such as ABC."],
  invalid_user: ["user", "A user is 1 to 64 of letters, digits, _ and -."],
  invalid_filename: ["filename", "The server does not accept this file name."],
  amount_below_price: ["amount", "The amount is below the price of one share."],
  insufficient_funds: ["amount", "There is not enough cash."],
  insufficient_shares: ["amount", "There are not enough shares."],
  no_buy_amount: ["symbol", "There is no buy trigger for this symbol: give an amount as well."],
  no_sell_amount: ["symbol", "There is no sell trigger for this symbol: give an amount as well."],
  no_pending_buy: [null, "There is no pending buy any more: it expired or was settled elsewhere."],
  no_pending_sell: [null, "There is no pending sell any more: it expired or was settled elsewhere."],
  order_changed: [null, "Another order is the newest now."],
  too_many_orders: [null, "There are too many pending orders: commit or cancel some first."],
  too_many_triggers: [null, "There are too many triggers: cancel some first."],
  too_many_holdings: [null, "There are too many symbols in this account."],
  cash_limit: ["amount", "The account cannot hold so much cash."],
  dump_quota: ["filename", "Your logs have used up their quota."],
  account_full: [null, "The account is full."],
  index_conflict: [null, "The database is not set up for this."],
  forbidden: [null, "Your token does not allow this."],
  not_found: [null, "There is nothing by this name."],
};

// Errors that do not concern the command itself: why, and what to do.
const ASIDE = {
  unauthorized: ["You are no longer signed in", "Sign in and send it again."],
  rate_limited: ["These are too many commands", "Send it again later."],
  idempotency_key_reused: ["This was mixed up with another command", "Send it again."],
  quote_unavailable: ["No price was available", "Send it again."],
  store_unavailable: ["The server could not confirm it in time", "Send it again."],
  clock_skew: ["The server's clock is wrong, so it does not trade", "Send it again."],
  auth_unavailable: ["Your token cannot be checked right now", "Send it again."],
  too_late: ["It took too long to reach the server", "Send it again."],
  server_busy: ["The server is overloaded", "Send it again."],
  unknown_data_version: ["The server is being upgraded", "Send it again later."],
};

/** `{field, text}` for an error of `api.js`; `field` is null if it concerns none. */
export function inWords(error) {
  if (error instanceof Unreachable) return { field: null, text: said(error, "The server did not answer", "Send it again.") };
  if (error instanceof GivenUp) return { field: null, text: "Gave up: no answer came. Nothing was changed." };
  if (error.code === undefined) throw error; // a fault of the page itself
  if (error.code === "rate_limited") {
    const seconds = error.retryAfterSeconds === 1 ? "1 second" : `${error.retryAfterSeconds} seconds`;
    return { field: null, text: said(error, ASIDE.rate_limited[0], `The next one is accepted in ${seconds}.`) };
  }
  if (error.code in ASIDE) return { field: null, text: said(error, ...ASIDE[error.code]) };
  if (error.status >= 500 && error.status !== 501) return { field: null, text: said(error, "The server failed", "Send it again.") };
  const [field, words] = WORDS[error.code] ?? [null, "The server refused it."];
  const detail = error.detail.replace(/^\w+: /, "");
  const says = [400, 409, 413, 501].includes(error.status) || !(error.code in WORDS);
  return { field, text: says ? `${words} (${detail})` : words };
}

/** Nothing was changed, or the outcome is unknown: then the form keeps the key and sends it again. */
function said({ mayBeDone }, why, what) {
  return mayBeDone ? `${why}: it may have been done. ${what} It is then done once.` : `${why}; nothing was changed. ${what}`;
}
