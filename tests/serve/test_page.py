"""The page in a real browser: Debian's or another chromium, without a screen."""

import base64
import hashlib
import io
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

_FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]


def test_the_policy_lets_in_what_is_in_the_page_and_nothing_else(server: Any) -> None:
    answer = server.client.get("/")
    policy = answer.headers["content-security-policy"]
    for kind in ("script", "style"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_the_page_asks_for_nothing_from_elsewhere_and_has_no_styles_or_handlers_in_its_tags() -> None:
    page = files("bigr_cli.serve").joinpath("page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://", page)
    tags = re.findall(r"<[a-z][^>]*>", re.sub(r"<(script|style)>.*?</\\1>", "", page, flags=re.DOTALL))
    assert not [tag for tag in tags if re.search(r"\s(style|on[a-z]+)=", tag)]


def test_every_control_has_a_name_that_screen_readers_say() -> None:
    page = files("bigr_cli.serve").joinpath("page.html").read_text(encoding="utf-8")
    html = page.partition("<script>")[0]
    for tag in re.findall(r"<button[^>]*class=\"icon\"[^>]*>", html):
        assert "aria-label=" in tag and "title=" in tag
    ids = set(re.findall(r"\sid=\"([\w-]+)\"", html))
    for identifier in re.findall(r"<(?:input|select)[^>]*\sid=\"([\w-]+)\"", html):
        named = f'for="{identifier}"' in html or re.search(
            rf"<label[^>]*>(?:(?!</label>).)*id=\"{identifier}\"", html, re.DOTALL
        )
        tag = re.search(rf"<input[^>]*id=\"{identifier}\"[^>]*>", html)
        assert named or (tag and ("aria-label" in tag[0] or "aria-hidden" in tag[0])), identifier
    for reference in re.findall(r"\\$\\(\"([\w-]+)\"\\)", page):
        assert reference in ids, reference


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no chromium here")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, headless=True, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    """The page, in a window of its own; errors on its console fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    token = server.client.headers["authorization"].split()[1]
    page.goto(f"{server.address}/?token={token}")
    page.wait_for_selector("#tasks button")
    yield page
    context.close()
    assert not wrong


def _chosen(page: Any, task: str) -> None:
    page.click(f"#tasks [data-task={task}]")


def _ran(page: Any) -> None:
    page.click("#go")
    page.wait_for_selector("#progress", state="visible", timeout=10_000)
    page.wait_for_selector("#progress", state="hidden", timeout=60_000)
    assert "bad" not in (page.get_attribute("#said", "class") or ""), page.inner_text("#said")


def _opened(page: Any, photo: bytes) -> None:
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": photo})
    page.wait_for_selector("#empty", state="hidden")


def _painted(page: Any, *, to: tuple[float, float] = (0.7, 0.6)) -> None:
    """A stroke with the mouse over the middle of the image."""
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + to[0] * box["width"], box["y"] + to[1] * box["height"], steps=12)
    page.mouse.up()


def _covered(page: Any) -> str:
    page.wait_for_timeout(250)
    return str(page.inner_text("#covered"))


def _saved(page: Any, button: str) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


@pytest.mark.slow
def test_a_mask_is_painted_undone_saved_and_used_again(
    page: Any, bigr: Callable[..., Any], photo: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _opened(page, photo)
    _painted(page)
    one = _covered(page)
    _painted(page, to=(0.5, 0.9))
    two = _covered(page)
    assert one != two != "no mask"
    page.click("#undo")
    assert _covered(page) == one
    page.keyboard.press("Control+Shift+Z")
    assert _covered(page) == two
    page.keyboard.press("Control+Z")
    name, saved = _saved(page, "#save-mask")
    assert name == "photo-mask.png"
    page.fill("#seed", "11")
    page.fill("#label", "cat")
    _ran(page)
    command = page.inner_text("#command code")
    result_name, result = _saved(page, "#save")

    page.click("#clear")
    assert _covered(page) == "no mask"
    page.set_input_files("#mask-file", {"name": name, "mimeType": "image/png", "buffer": saved})
    assert _covered(page) == one
    _ran(page)
    assert _saved(page, "#save")[1] == result

    before, mask, after = (np.asarray(Image.open(io.BytesIO(data))) for data in (photo, saved, result))
    outside = mask[..., 0] == 0
    assert outside.any() and not outside.all()
    assert np.array_equal(after[outside], before[outside])
    assert not np.array_equal(after[~outside], before[~outside])

    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(photo)
    Path(name).write_bytes(saved)
    assert bigr(*shlex.split(command)[1:]).code == 0
    assert Path(result_name).read_bytes() == result


@pytest.mark.slow
def test_all_tasks_once(page: Any, photo: bytes) -> None:
    _chosen(page, "generate")
    page.fill("#label", "cat")
    page.fill("#count", "3")
    _ran(page)
    assert page.locator("#strip button").count() == 3
    page.click("#strip button >> nth=1")
    page.click("#use")
    page.wait_for_selector("#empty", state="hidden")
    page.fill("#count", "1")
    _opened(page, photo)

    _chosen(page, "outpaint")
    box = page.locator("#stage").bounding_box()
    scale = float(page.inner_text("#zoom").split()[0]) / 100
    edge = (box["x"] + box["width"] / 2 + 20 * scale, box["y"] + box["height"] / 2)
    page.mouse.move(*edge)
    page.mouse.down()
    page.mouse.move(edge[0] + 10 * scale, edge[1], steps=5)
    page.mouse.up()
    assert page.input_value("#right") == "10"
    _ran(page)
    assert "--right 10" in page.inner_text("#command code")

    _chosen(page, "edit")
    page.fill("#label", "house")
    _ran(page)
    _chosen(page, "enrich")
    page.fill("#label", "")
    page.fill("#f-scale", "2")
    _ran(page)
    assert "--scale 2" in page.inner_text("#command code")
    _chosen(page, "inpaint")
    page.click("#show-input")
    page.keyboard.press("r")
    _painted(page)
    _ran(page)
    _chosen(page, "interpolate")
    for label in ("cat", "tree"):
        page.fill("#label", label)
        page.click("#add-stop")
    page.fill("#f-frames", "3")
    page.select_option("#f-format", "gif")
    _ran(page)
    assert page.locator("#film img").is_visible()
    assert page.locator("#strip button").count() == 8


@pytest.mark.slow
def test_the_brush_goes_by_keys_alone(page: Any, photo: bytes) -> None:
    _opened(page, photo)
    page.focus("#stage")
    page.keyboard.press("Enter")
    dab = _covered(page)
    assert dab != "no mask"
    for _ in range(6):
        page.keyboard.press("Shift+ArrowRight")
    assert _covered(page) != dab
    page.keyboard.press("i")
    page.keyboard.press("Delete")
    assert _covered(page) == "no mask"
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert _covered(page) != "no mask"
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()


@pytest.mark.slow
def test_a_job_is_cancelled_from_the_page(
    page: Any, server: Any, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    watch = server.state.worker._watch
    monkeypatch.setattr(server.state.worker, "_watch", lambda seen: (watch(seen), time.sleep(0.4)))
    _chosen(page, "generate")
    page.fill("#label", "dog")
    page.click("#go")
    page.wait_for_selector("#cancel", state="visible")
    page.keyboard.press("Escape")
    page.wait_for_selector("#progress", state="hidden", timeout=10_000)
    assert page.inner_text("#said") == "cancelled"
    assert page.locator("#strip button").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(browser: Any, server: Any, photo: bytes, width: int, theme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    page = context.new_page()
    token = server.client.headers["authorization"].split()[1]
    page.goto(f"{server.address}/?token={token}")
    page.wait_for_selector("#tasks button")
    _opened(page, photo)
    for task in server.state.operations:
        _chosen(page, task)
        page.click("details summary") if not page.evaluate("document.querySelector('details').open") else None
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    context.close()


@pytest.mark.slow
def test_images_one_after_the_other_with_results_beside_them(
    browser: Any, serve_with: Callable[..., Any], photo: bytes, mask: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(photo)
    (tmp_path / "b.png").write_bytes(mask)
    with serve_with(images=[tmp_path / "a.png", tmp_path / "b.png"]) as server:
        context = browser.new_context()
        page = context.new_page()
        token = server.client.headers["authorization"].split()[1]
        page.goto(f"{server.address}/?token={token}")
        page.wait_for_selector("#queue", state="visible")
        page.wait_for_selector("#empty", state="hidden")
        page.keyboard.press("n")
        page.wait_for_timeout(300)
        assert "2 of 2" in page.inner_text("#place")
        page.keyboard.press("p")
        page.wait_for_timeout(300)
        assert "1 of 2" in page.inner_text("#place")
        _chosen(page, "enrich")
        page.fill("#seed", "5")
        _ran(page)
        page.click("#save")
        page.wait_for_timeout(300)
        assert (tmp_path / "a-enrich-5.png").is_file()
        context.close()
