from __future__ import annotations

import pytest

from src.cli import parse_arguments
from src.errors import EXIT_USAGE


def test_overrides_stand_anywhere_and_keep_their_order():
    words = ["teacher", "a.b=1", "--config", "my.yaml", "a.b=2", "-v", "c.d=x=y"]
    parsed = parse_arguments(words)
    assert parsed.overrides == ["a.b=1", "a.b=2", "c.d=x=y"]
    assert [str(path) for path in parsed.config] == ["my.yaml"]
    assert parsed.verbose


@pytest.mark.parametrize(
    "words",
    [
        ["teacher", "a.b=1", "--config", "my.yaml", "--unknown"],
        ["teacher", "a.b=1", "--config", "my.yaml", "--unknown=1"],
        ["teacher", "a.b=1", "--config", "my.yaml", "stray"],
        ["monitor", "folder", "--json", "a.b=1"],
    ],
)
def test_what_nobody_knows_is_refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(words)
    assert caught.value.code == EXIT_USAGE
    assert "unrecognized arguments" in capsys.readouterr().err
