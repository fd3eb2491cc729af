"""`/api/v1`: jobs and their progress, cancelling, forms and raw files, what the server says of itself."""

import base64
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SLOW = {"prompts": ["cat"], "steps": 16, "timesteps": 16}


def events(server: Any, job: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a job until its stream ends."""
    with server.client.stream("GET", f"/api/v1/jobs/{job}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])


def begun(server: Any, task: str = "generate", **body: Any) -> dict[str, Any]:
    answer = server.client.post(f"/api/v1/{task}", json=body or SLOW, headers={"prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{found['id']}"
    return found


def test_progress_comes_with_previews_of_what_is_unmasked(server: Any) -> None:
    seen = list(events(server, begun(server)["id"]))
    progress = [data for name, data in seen if name == "progress"]
    iterations = [data["images"][0]["iteration"] for data in progress]
    assert iterations == sorted(iterations) and max(iterations) == 16
    previews = [one for data in progress for one in data["images"][0].get("previews", ())]
    assert previews and all(base64.b64decode(one["b64_png"]).startswith(b"\x89PNG") for one in previews)
    name, last = seen[-1]
    assert name == "end" and last["state"] == "done" and last["done"] == 1
    file = server.client.get(f"/api/v1/jobs/{last['id']}/images/0")
    assert file.headers["content-type"] == "image/png"
    assert len(file.content) == last["images"][0]["bytes"]


def test_previews_say_which_part_of_the_image_they_show(
    server: Any, photo: bytes, mask: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = server.state.worker._watch
    monkeypatch.setattr(server.state.worker, "_watch", lambda seen: (watch(seen), time.sleep(0.1)))  # time to listen
    files = {"image": ("photo.png", photo), "mask": ("mask.png", mask)}
    slow = {"steps": "16", "timesteps": "2"}
    answer = server.client.post("/api/v1/inpaint", files=files, data=slow, headers={"prefer": "respond-async"})
    shown = [
        one["box"]
        for _, data in events(server, answer.json()["id"])
        for image in data.get("images", ())
        for one in image.get("previews", ())
    ]
    x, y, side = shown[0]
    assert side >= 15 and x <= 10 and y <= 8 and x + side >= 25 and y + side >= 20


def _until_unwanted(seen: Any) -> None:
    """An iteration that lasts until its jobs are given up."""
    end = time.monotonic() + 20
    while time.monotonic() < end and not all(piece.job.stop for piece in seen.keys):
        time.sleep(0.01)


def test_a_cancelled_job_frees_the_worker_within_an_iteration(serve_with: Callable[..., Any]) -> None:
    with serve_with() as server:
        iterations: list[int] = []
        watch, started = server.state.worker._watch, threading.Event()

        def noted(seen: Any) -> None:
            watch(seen)
            iterations.append(seen.index)
            started.set()
            _until_unwanted(seen)

        server.state.worker._watch = noted
        job = begun(server)
        assert started.wait(20)
        ended = server.client.delete(f"/api/v1/jobs/{job['id']}")
        assert ended.status_code == 200 and ended.json()["state"] == "cancelled"
        assert len(iterations) <= 2
        server.state.worker._watch = watch
        assert server.client.post("/api/v1/generate", json={"prompts": ["dog"]}).status_code == 200
        assert server.state.budget.used == 0


def test_a_client_that_hangs_up_does_not_want_its_job(serve_with: Callable[..., Any]) -> None:
    with serve_with() as server:
        watch = server.state.worker._watch
        server.state.worker._watch = lambda seen: (watch(seen), _until_unwanted(seen))
        with pytest.raises(Exception, match="timed out"):
            server.client.post("/api/v1/generate", json=SLOW, timeout=1.0)
        job = server.state.jobs.listed()[-1]
        for _ in range(100):
            if job.ended:
                break
            time.sleep(0.05)
        assert job.state == "cancelled"


def test_others_in_the_batch_go_on_when_one_is_cancelled(serve_with: Callable[..., Any]) -> None:
    with serve_with() as server:
        alone = server.client.post("/api/v1/generate", json={**SLOW, "seed": 1}).json()
        watch = server.state.worker._watch
        begins, queued, together, given_up = (threading.Event() for _ in range(4))

        def held(seen: Any) -> None:
            watch(seen)
            begins.set()
            assert queued.wait(20)
            if len(seen.keys) == 3:
                together.set()
                assert given_up.wait(20)

        server.state.worker._watch = held
        begun(server, **SLOW, seed=3)  # the others wait behind it, and go together
        assert begins.wait(20)  # or it would go with them
        jobs = [begun(server, **SLOW, seed=seed)["id"] for seed in (0, 1, 2)]
        queued.set()
        assert together.wait(20)
        server.client.delete(f"/api/v1/jobs/{jobs[0]}")
        given_up.set()
        states = [list(events(server, job))[-1][1]["state"] for job in jobs]
        assert states == ["cancelled", "done", "done"]
        data = server.client.get(f"/api/v1/jobs/{jobs[1]}/images/0").content
        assert base64.b64encode(data).decode() == alone["images"][0]["b64_json"]


def test_requests_go_together_in_batches(serve_with: Callable[..., Any]) -> None:
    with serve_with() as server:
        sizes: list[int] = []
        watch, all_wait = server.state.worker._watch, threading.Event()

        def noted(seen: Any) -> None:
            watch(seen)
            sizes.append(len(seen.keys))
            assert all_wait.wait(20)

        server.state.worker._watch = noted
        jobs = [begun(server, **SLOW, seed=seed)["id"] for seed in range(12)]
        all_wait.set()
        for job in jobs:
            assert list(events(server, job))[-1][1]["state"] == "done"
        assert max(sizes) >= 10


def test_a_job_that_takes_too_long_ends(serve_with: Callable[..., Any]) -> None:
    with serve_with(seconds=0.3) as server:
        watch = server.state.worker._watch
        server.state.worker._watch = lambda seen: (watch(seen), time.sleep(0.2))
        answer = server.client.post("/api/v1/generate", json=SLOW)
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "timeout"


def test_old_results_are_dropped(serve_with: Callable[..., Any]) -> None:
    with serve_with(kept_jobs=3) as server:
        for seed in range(6):
            server.client.post("/api/v1/generate", json={"prompts": ["cat"], "steps": 1, "seed": seed})
        kept = server.client.get("/api/v1/jobs").json()["jobs"]
        assert [job["images"][0]["seed"] for job in kept] == [3, 4, 5]
    with serve_with(kept=1) as server:
        answer = server.client.post("/api/v1/generate", json={"prompts": ["cat"], "steps": 1})
        assert server.client.get(f"/api/v1/jobs/{answer.json()['id']}").status_code == 200
        server.client.post("/api/v1/generate", json={"prompts": ["cat"], "steps": 1})
        assert server.client.get(f"/api/v1/jobs/{answer.json()['id']}").status_code == 404


def test_a_raw_image_in_and_out(server: Any, photo: bytes) -> None:
    address = "/api/v1/inpaint?mask_box=1,1,20,20&seed=4&class=cat&image_name=a.png"
    answer = server.client.post(address, content=photo, headers={"content-type": "image/png", "accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-bigr-seed"] == "4"
    body = {"image": base64.b64encode(photo).decode(), "image_name": "a.png", "mask_box": ["1,1,20,20"], "seed": 4}
    same = server.client.post("/api/v1/inpaint", json={**body, "class": "cat"}).json()
    assert base64.b64decode(same["images"][0]["b64_json"]) == answer.content
    several = server.client.post(
        address + "&count=2", content=photo, headers={"content-type": "image/png", "accept": "image/png"}
    )
    assert several.status_code == 406


def test_an_empty_mask_gives_the_image_back(server: Any, photo: bytes) -> None:
    import io

    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (40, 30)).save(buffer, "PNG")
    files = {"image": ("photo.png", photo), "mask": ("mask.png", buffer.getvalue())}
    (made,) = server.client.post("/api/v1/inpaint", files=files).json()["images"]
    before, after = (Image.open(io.BytesIO(data)) for data in (photo, base64.b64decode(made["b64_json"])))
    assert np.array_equal(np.asarray(before), np.asarray(after))


def test_a_mask_of_another_size_is_refused(server: Any, photo: bytes) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (10, 10)).save(buffer, "PNG")
    files = {"image": ("photo.png", photo), "mask": ("small.png", buffer.getvalue())}
    answer = server.client.post("/api/v1/inpaint", files=files)
    assert answer.status_code == 422
    assert "small.png" in answer.json()["error"]["message"]
    assert server.client.post("/api/v1/inpaint", files=files, data={"mask_resize": "true"}).status_code == 200


def test_the_model_and_the_tasks_are_described(server: Any) -> None:
    loaded = server.client.get("/api/v1/models").json()["loaded"]
    assert loaded["labels"] == ["cat", "dog", "house", "tree"] and loaded["image_size"] == 16
    tasks = {task["name"]: task for task in server.client.get("/api/v1/tasks").json()["tasks"]}
    assert {"inpaint", "outpaint", "edit", "enrich", "generate", "interpolate"} <= set(tasks)
    strength = tasks["edit"]["schema"]["properties"]["strength"]
    assert (strength["type"], strength["minimum"], strength["maximum"]) == ("number", 0, 1)
    assert tasks["enrich"]["schema"]["properties"]["steps"]["default"] == 4


def test_the_openapi_document_is_whole(server: Any) -> None:
    document = server.client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for task in server.state.operations:
        content = document["paths"][f"/api/v1/{task}"]["post"]["requestBody"]["content"]
        assert content["application/json"]["schema"]["additionalProperties"] is False
    assert {"/v1/images/generations", "/v1/images/edits", "/api/v1/jobs/{job}/events"} <= set(document["paths"])


def test_results_are_saved_beside_their_images(
    serve_with: Callable[..., Any], photo: bytes, mask: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(photo)
    (tmp_path / "b.png").write_bytes(mask)
    with serve_with(images=[tmp_path / "a.png", tmp_path / "b.png"]) as server:
        listed = server.client.get("/api/v1/images").json()["images"]
        assert [one["name"] for one in listed] == ["a.png", "b.png"]
        assert server.client.get("/api/v1/images/1").content == mask
        assert server.client.get("/api/v1/images/2").status_code == 422
        files = {"image": ("a.png", photo), "mask": ("mask.png", mask)}
        first = server.client.post("/api/v1/inpaint", files=files, data={"seed": "1"}).json()
        second = server.client.post("/api/v1/inpaint", files=files, data={"seed": "1", "class": "cat"}).json()
        names = [
            server.client.post("/api/v1/images/0/results", json={"job": job["id"], "index": 0}).json()["name"]
            for job in (first, second, first)
        ]
        assert names == ["a-inpaint-1.png", "a-inpaint-1-2.png", "a-inpaint-1.png"]
        assert (tmp_path / names[1]).read_bytes() == base64.b64decode(second["images"][0]["b64_json"])
        assert server.client.get("/api/v1/images").json()["images"][0]["saved"] == names[:2]
        wrong = server.client.post("/api/v1/images/0/results", json={"job": "../../x", "index": 0})
        assert wrong.status_code == 422
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a-inpaint-1-2.png",
        "a-inpaint-1.png",
        "a.png",
        "b.png",
    ]


def test_images_that_browsers_do_not_show_are_shown_as_png(server: Any) -> None:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("CMYK", (8, 6), (10, 20, 30, 40)).save(buffer, "TIFF")
    answer = server.client.post("/api/v1/display?name=a.tif", content=buffer.getvalue())
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as shown:
        assert (shown.mode, shown.size) == ("RGB", (8, 6))


def test_tasks_of_plugins_are_offered(server: Any, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import dataclass

    from bigr_cli.editing.requests import Enrich
    from bigr_cli.registry import REGISTRY
    from bigr_cli.serve.operations import offered
    from bigr_cli.tasks.editing import editing_task

    @dataclass(frozen=True, kw_only=True)
    class Twice(Enrich):
        """Detail, twice as large."""

        scale: int = 2

    monkeypatch.setattr(REGISTRY, "tasks", {})

    @editing_task("twice", Twice, help="Twice as large.")
    def twice() -> None:
        """Without seams."""

    found = offered(REGISTRY, server.state.model, server.state.limits)
    assert list(found) == ["twice"]
    assert "passes" in found["twice"].schema["properties"]
    server.state.operations["twice"] = found["twice"]
    try:
        (made,) = server.client.post("/api/v1/twice", files={"image": ("a.png", photo)}).json()["images"]
        assert made["recipe"]["task"] == "twice" and made["name"].startswith("a-twice-")
    finally:
        del server.state.operations["twice"]


def test_a_model_that_reads_texts(serve_with: Callable[..., Any], tiny_text_model: Path, photo: bytes) -> None:
    with serve_with(folder=tiny_text_model) as server:
        answer = server.client.post("/api/v1/generate", json={"prompts": ["a red house"], "seed": 1})
        assert answer.json()["images"][0]["label"] == "a red house"
        files = {"image": ("a.png", photo)}
        assert server.client.post("/api/v1/edit", files=files, data={"text": "a fish"}).status_code == 200
        assert server.client.post("/api/v1/edit", files=files, data={"class": "fish"}).status_code == 422


def test_the_answer_says_how_far_an_image_is_from_the_training_images(
    serve_with: Callable[..., Any], tiny_model: Path, tmp_path: Path, photo: bytes, mask: bytes
) -> None:
    folder = tmp_path / "knowing"
    shutil.copytree(tiny_model, folder)
    with (folder / "config.yaml").open("a") as file:
        file.write("held_out: {images: 100, psnr: [90.0, 95.0]}\n")
    files = {"image": ("drawing.png", photo), "mask": ("mask.png", mask)}
    with serve_with(folder=folder) as server:
        (found,) = server.client.post("/api/v1/inpaint", files=files).json()["images"]
        strict = server.client.post("/api/v1/inpaint", files=files, data={"strict": "true"})
    assert found["familiarity"]["unfamiliar"] is True
    assert "drawing.png" in found["familiarity"]["warning"] and "bigr train" in found["familiarity"]["warning"]
    assert strict.status_code >= 400 and "unlike" in strict.text
