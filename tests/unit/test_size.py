"""Lines of Python are counted, and have a ceiling."""

from pathlib import Path

import pytest

from infra import size

CODE = '''"""What it is.

Why.
"""

# a comment


def f(x: int) -> str:  # with a comment
    # another

    return (
        f"{x} "

        "end"
    )
'''


def test_blank_lines_and_comments_do_not_count_and_documentation_does(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(CODE)
    assert size.lines_of(tmp_path / "module.py") == 3 + 5
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "other.py").write_text("X = 1\n")
    (tmp_path / "folder" / "page.js").write_text("let x = 1\n")
    assert size.size_of(tmp_path) == 9


def test_every_folder_of_the_project_has_a_ceiling() -> None:
    found = size.ceilings(size.CEILINGS.read_text())
    assert sorted(found) == ["chalicelib", "infra", "loadgen", "tests"]
    assert min(found.values()) > 1_000


@pytest.mark.parametrize(("most", "code", "said"), [("8", 0, "code    "), ("7", 1, "1 too many")])
def test_who_is_above_a_ceiling_is_told_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], most: str, code: int, said: str
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "module.py").write_text(CODE)
    (tmp_path / "CONTRIBUTING.md").write_text(f"| folder | lines |\n| --- | --- |\n| `code` | {most} |\n")
    monkeypatch.setattr(size, "PROJECT", tmp_path)
    monkeypatch.setattr(size, "CEILINGS", tmp_path / "CONTRIBUTING.md")
    assert size.main() == code
    assert said in capsys.readouterr().out
