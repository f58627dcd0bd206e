"""Accounts that are made in bulk are as the store would have left them."""

from chalicelib.store.documents import STATE
from infra.audit.journals import user_name
from infra.bench.accounts import make_accounts
from tests.integration.shop import Shop


def test_accounts_made_in_bulk_have_their_own_names_and_go_on_trading(shop: Shop) -> None:
    make_accounts(shop.database, 30)
    assert shop.database["accounts"].distinct("_id") == [user_name(number) for number in range(30)]
    assert len(shop.database["accounts"].distinct(f"{STATE}.armed.sym")) == 26
    assert shop.accounts.read(user_name(29)).version == 5
    history = shop.does("DISPLAY_SUMMARY", user=user_name(29)).result["history"]
    assert [entry["command"] for entry in history] == ["SET_BUY_TRIGGER", "SET_BUY_AMOUNT", "COMMIT_BUY", "BUY", "ADD"]
    assert shop.does("SELL", "DAA", "50.00", user=user_name(29)).entry.outcome == "ok"
    assert shop.does("CANCEL_SET_BUY", "DAA", user=user_name(29)).entry.outcome == "ok"
