from pathlib import Path

import pytest

from bigr_cli.errors import UnknownNameError, UsageError
from bigr_cli.evaluation.preflight import is_setting, points
from bigr_cli.evaluation.samples import Results


def test_all_combinations_the_last_fastest() -> None:
    assert points(["guidance=1,1.5", "order=raster,halton"]) == [
        {"guidance": 1, "order": "raster"},
        {"guidance": 1, "order": "halton"},
        {"guidance": 1.5, "order": "raster"},
        {"guidance": 1.5, "order": "halton"},
    ]
    assert points([]) == [{}]
    assert points(["gumbel-schedule=up"]) == [{"gumbel_schedule": "up"}]


@pytest.mark.parametrize("words", [["guidance"], ["guidance="], ["guidance=1,1"], ["steps=1", "steps=2"]])
def test_what_makes_no_sweep(words: list[str]) -> None:
    with pytest.raises(UsageError):
        points(words)


def test_unknown_and_fixed_settings() -> None:
    with pytest.raises(UnknownNameError, match="did you mean guidance"):
        points(["guidanse=1,2"])
    with pytest.raises(UsageError, match="steps is given twice"):
        points(["steps=1,2"], ["steps"])
    assert is_setting("steps=1,2")
    assert not is_setting("steps")
    assert not is_setting("a=b/")


def test_results_are_found_again_unless_damaged(home: Path) -> None:
    results = Results({"r": 1})
    assert results.folder.is_relative_to(home)
    assert results.find(0) is None
    results.keep(0, {"a": 1.5})
    assert Results({"r": 1}).find(0) == {"a": 1.5}
    (results.folder / "0000.json").write_text("{")
    assert results.find(0) is None
    results.discard()
    assert not results.folder.exists()
