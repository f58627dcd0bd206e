"""The documentation of the local stack names every option."""

import re
from pathlib import Path

import pytest

from infra import local

PAGE = Path(local.__file__).parent.parent / "docs" / "local-stack.md"


def test_every_option_of_the_stack_is_in_its_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        local.main(["up", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert len(options) > 10
    assert {option for option in options if f"`{option}" not in PAGE.read_text()} == set()
