"""The average cost of the shares held, and the gain of sales (docs/rules.md section 2).

Neither moves cash. If a symbol was held before costs were recorded, its cost stays unknown until no share of it is
left: it is not in `cost_cents`, and its sales realise no gain.
"""

from collections.abc import Mapping
from dataclasses import replace

from chalicelib.domain.account import Account, without


def held(account: Account, symbol: str) -> int:
    """Return the shares of a symbol that the account owns, including reserved ones."""
    return account.shares(symbol) + account.reserved_shares(symbol)


def cost_with(account: Account, symbol: str, paid_cents: int) -> Mapping[str, int]:
    """Return the costs after shares were bought for `paid_cents`; `account` is the state before."""
    if symbol not in account.cost_cents and held(account, symbol):
        return account.cost_cents
    return {**account.cost_cents, symbol: account.cost_cents.get(symbol, 0) + paid_cents}


def after_sale(account: Account, symbol: str, shares: int, proceeds_cents: int) -> Account:
    """Return the account with a sale's cost and gain recorded; its shares are not changed yet."""
    cost = account.cost_cents.get(symbol)
    if cost is None:
        return account
    before = held(account, symbol)
    sold_cost = cost if shares == before else cost * shares // before
    costs = without(account.cost_cents, symbol)
    return replace(
        account,
        cost_cents=costs if shares == before else {**costs, symbol: cost - sold_cost},
        realised_cents=account.realised_cents + proceeds_cents - sold_cost,
    )
