"""OpenAI's own client against the running server."""

import base64
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from bigr_cli.zoo.find import packaged_models

openai = pytest.importorskip("openai")


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    token = server.client.headers["authorization"].split()[1]
    return openai.OpenAI(base_url=f"{server.address}/v1", api_key=token, max_retries=0, timeout=60)


def test_generations_are_those_of_the_api(client: Any, server: Any) -> None:
    made = client.images.generate(prompt="cat", model="tiny", n=2, size="auto", extra_body={"seed": 3})
    same = server.client.post("/api/v1/generate", json={"prompts": ["cat"], "count": 2, "seed": 3}).json()["images"]
    assert [one.b64_json for one in made.data] == [one["b64_json"] for one in same]
    assert made.created > 0


def test_an_address_is_the_data_itself(client: Any) -> None:
    (one,) = client.images.generate(prompt="dog", size="16x16", response_format="url").data
    assert one.b64_json is None and one.url.startswith("data:image/png;base64,")


def test_edits_repaint_what_is_transparent_in_the_mask(client: Any, photo: bytes) -> None:
    before = Image.open(io.BytesIO(photo))
    levels = np.full((30, 40, 4), 255, np.uint8)
    levels[5:15, 5:15, 3] = 0
    mask = io.BytesIO()
    Image.fromarray(levels).save(mask, "PNG")
    made = client.images.edit(image=("photo.png", photo), mask=("mask.png", mask.getvalue()), prompt="cat", n=1)
    after = np.asarray(Image.open(io.BytesIO(base64.b64decode(made.data[0].b64_json))))
    outside = levels[..., 3] == 255
    assert np.array_equal(after[outside], np.asarray(before)[outside])
    assert not np.array_equal(after[~outside], np.asarray(before)[~outside])


def test_edits_without_a_mask(client: Any, photo: bytes) -> None:
    whole = client.images.edit(image=("photo.png", photo), prompt="house")
    assert Image.open(io.BytesIO(base64.b64decode(whole.data[0].b64_json))).size == (40, 30)


def test_streams_have_partial_images_and_then_the_whole(client: Any, photo: bytes) -> None:
    events = list(client.images.generate(prompt="cat", stream=True, partial_images=2, extra_body={"seed": 1}))
    kinds = [event.type for event in events]
    assert kinds[-1] == "image_generation.completed" and set(kinds[:-1]) <= {"image_generation.partial_image"}
    plain = client.images.generate(prompt="cat", extra_body={"seed": 1})
    assert events[-1].b64_json == plain.data[0].b64_json
    edited = list(client.images.edit(image=("photo.png", photo), prompt="cat", stream=True, partial_images=1))
    assert edited[-1].type == "image_edit.completed"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"prompt": "catt"}, "UnprocessableEntityError"),
        ({"prompt": "cat", "size": "1024x1024"}, "UnprocessableEntityError"),
        ({"prompt": "cat", "n": 11}, "UnprocessableEntityError"),
        ({"prompt": "cat", "model": "dall-e-3"}, "NotFoundError"),
    ],
)
def test_errors_are_those_of_the_client(client: Any, values: dict[str, Any], error: str) -> None:
    with pytest.raises(getattr(openai, error)) as raised:
        client.images.generate(**values)
    assert raised.value.body["message"]


def test_a_wrong_key_is_refused(server: Any) -> None:
    stranger = openai.OpenAI(base_url=f"{server.address}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.images.generate(prompt="cat")


def test_models_are_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]


def test_a_text_model_reads_prompts_and_names_what_it_does_not_know(
    serve_with: Any, tiny_text_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tiny-text"
    shutil.copytree(tiny_text_model, folder)
    known = yaml.safe_load((packaged_models() / "scenes-64-text" / "config.yaml").read_text())["vocabulary"]
    with (folder / "config.yaml").open("a") as config:
        yaml.safe_dump({"vocabulary": known}, config)
    with serve_with(folder=folder) as server:
        token = server.client.headers["authorization"].split()[1]
        client = openai.OpenAI(base_url=f"{server.address}/v1", api_key=token, max_retries=0, timeout=60)
        (made,) = client.images.generate(prompt="a red boat at sunset").data
        recipe = Image.open(io.BytesIO(base64.b64decode(made.b64_json))).text["bigr"]  # type: ignore[attr-defined]
        assert "a red boat at sunset" in recipe
        with pytest.raises(openai.UnprocessableEntityError, match="'dog' is not among the words") as refused:
            client.images.generate(prompt="a dog at sunset")
        assert "cat" in refused.value.body["message"]
        for words in ({"prompts": ["a dog"]}, {"prompt": "a dog"}):
            answer = server.client.post("/api/v1/generate", json=words)
            assert answer.status_code == 422 and "'dog' is not among" in answer.text
