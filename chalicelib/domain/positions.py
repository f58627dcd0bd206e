"""What the shares held have cost, by average cost, and what sales have gained (SPEC.md section 2).

Neither moves cash. The cost of a symbol that was held before costs were recorded is unknown until none of it is left:
it has no place in `cost_cents`, and its sales realise nothing.
"""

from collections.abc import Mapping
from dataclasses import replace

from chalicelib.domain.account import Account, without


def held(account: Account, symbol: str) -> int:
    """Return the shares of a symbol that belong to the account, reserved ones included."""
    return account.shares(symbol) + account.reserved_shares(symbol)


def cost_with(account: Account, symbol: str, paid_cents: int) -> Mapping[str, int]:
    """Return the costs after shares were bought for `paid_cents`; `account` is the one before."""
    if symbol not in account.cost_cents and held(account, symbol):
        return account.cost_cents
    return {**account.cost_cents, symbol: account.cost_cents.get(symbol, 0) + paid_cents}


def after_sale(account: Account, symbol: str, shares: int, proceeds_cents: int) -> Account:
    """Return the account with the cost and the gain of a sale noted; its shares are still those before."""
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
