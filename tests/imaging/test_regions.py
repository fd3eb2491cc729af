import pytest

from bigr_cli.errors import UsageError
from bigr_cli.imaging.regions import CanvasRequest, Margins


@pytest.mark.parametrize(
    ("request_", "margins"),
    [
        ({"right": "50%"}, Margins(right=50)),
        ({"left": "8", "top": "12.5%"}, Margins(left=8, top=10)),
        ({"aspect": "16:9"}, Margins(left=21, right=21)),
        ({"aspect": "1:1"}, Margins(top=10, bottom=10)),
        ({"aspect": "5:4"}, Margins()),
        ({"size": "101x81"}, Margins(left=0, right=1, top=0, bottom=1)),
        ({"size": "200X80"}, Margins(left=50, right=50)),
    ],
)
def test_margins_of_a_image_of_100_by_80(request_: dict[str, str], margins: Margins) -> None:
    assert CanvasRequest(**request_).margins((100, 80)) == margins


@pytest.mark.parametrize(
    "request_",
    [
        *({"right": text} for text in ("", "-1", "x", "1e3", "50%%", "nan", "1,5")),
        *({"aspect": text} for text in ("16", "16:9:4", "a:b", "-1:2")),
        *({"size": text} for text in ("100", "100x", "x100", "100*100")),
        {"right": "5", "aspect": "16:9"},
        {"size": "200x200", "aspect": "16:9"},
    ],
)
def test_what_is_no_canvas_is_refused(request_: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        CanvasRequest(**request_)


def test_a_canvas_takes_nothing_away() -> None:
    with pytest.raises(UsageError, match="smaller than the image, 100x80"):
        CanvasRequest(size="90x200").margins((100, 80))
    with pytest.raises(UsageError, match="no shape"):
        CanvasRequest(aspect="0:5").margins((100, 80))
    with pytest.raises(UsageError, match="negative"):
        Margins(left=-1, right=5).canvas((10, 10))


def test_a_canvas_is_larger_but_not_too_large() -> None:
    assert Margins(left=1, bottom=2).canvas((10, 10)) == (11, 12)
    with pytest.raises(UsageError, match="nothing to paint"):
        Margins().canvas((10, 10))
    with pytest.raises(UsageError, match="too large"):
        Margins(right=10**9).canvas((10, 10))


def test_given() -> None:
    assert not CanvasRequest().given
    assert CanvasRequest(top="0").given
