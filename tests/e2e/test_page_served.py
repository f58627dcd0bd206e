"""The trader's page on both local servers."""

import re

from infra.local.background import BackgroundStack
from tests.e2e.test_contract import ask


def test_the_page_and_its_files_are_served_alike(served: BackgroundStack) -> None:
    status, headers, text = ask(served, "GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    names = set(re.findall(r'"(assets/[^"]+)"', text))
    assert len(names) > 10
    for name in names:
        status, headers, _ = ask(served, "GET", f"/{name}")
        assert (status, headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert ask(served, "GET", f"/{min(names).rpartition('/')[0]}/nothing.js")[0] == 404
    assert ask(served, "POST", "/", body={})[0] == 405


def test_the_head_of_the_page_says_what_the_page_would(served: BackgroundStack) -> None:
    _, headers, text = ask(served, "GET", "/")
    server = next(name for name in served.pids if name in {"gateway", "chalice"})
    status, head, nothing = ask(served, "HEAD", "/")
    assert nothing == ""
    if server == "gateway":  # as API Gateway, `chalice local` has no HEAD
        assert status == 200
        assert (head["etag"], head["content-length"]) == (headers["etag"], str(len(text.encode())))
