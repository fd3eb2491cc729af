import errno
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigr_cli.core.architectures import CompactConfig
from bigr_cli.core.tokenizer import Tokenizer
from bigr_cli.data import cached
from bigr_cli.data.cached import cached_codes
from bigr_cli.data.folders import FolderSource
from bigr_cli.data.loading import PackedCodes, Positions, all_batches, as_floats, code_batches
from bigr_cli.data.sources import ScenesSource

SOURCE = ScenesSource(16, count=10)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """With 4 × 4 tokens of 5 bits: 80 bits fill 10 bytes."""
    torch.manual_seed(0)
    config = CompactConfig(16, 5, channels=(8, 16), encoder_blocks=(0, 1), decoder_blocks=(0, 1), attention_heads=2)
    return Tokenizer(config).eval().requires_grad_(False)


def make(tokenizer: Tokenizer, digest: str = "a" * 64, variants: int = 3, workers: int = 0) -> PackedCodes:
    return cached_codes(tokenizer, digest, SOURCE, variants=variants, augment=False, workers=workers)


@given(
    shape=st.tuples(*(st.integers(1, size) for size in (5, 4, 9, 13))),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_packing_loses_nothing(shape: tuple[int, int, int, int], seed: int, data: st.DataObject) -> None:
    images, variants, tokens, bits = shape
    drawn = np.random.default_rng(seed).random(shape) < 0.5
    packed = PackedCodes(np.packbits(drawn.reshape(images, variants, -1), axis=2), tokens, bits)
    place = st.tuples(st.integers(0, images - 1), st.integers(0, 20))
    positions = data.draw(st.lists(place, min_size=1, max_size=6))
    found = packed.take(positions)
    assert found.dtype == torch.bool
    expected = np.stack([drawn[image, variant % variants] for image, variant in positions])
    assert np.array_equal(found.numpy(), expected)


def test_codes_are_bernoulli_draws_of_the_tokenizer(tokenizer: Tokenizer) -> None:
    packed = make(tokenizer, variants=200)
    assert packed.packed.shape == (10, 200, 10)  # one bit a bit
    drawn = torch.stack([packed.take([(3, variant)])[0] for variant in range(200)]).double()
    batch = next(iter(all_batches(SOURCE, 10)))
    p = tokenizer.bit_probabilities(as_floats(batch.images))[3].double()
    z = (drawn.mean(dim=0) - p) / (p * (1 - p) / 200).sqrt()
    assert float(z.abs().max()) < 4.5
    assert abs(float(z.square().mean()) - 1) < 0.5


def test_the_cache_is_used_again(tokenizer: Tokenizer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make(tokenizer)
    (file,) = (home / "cache" / "codes").iterdir()
    assert file.stat().st_size < 128 + 10 * 3 * 10 + 1
    monkeypatch.setattr(cached, "_packed", lambda *_: pytest.fail("made anew"))
    assert np.array_equal(make(tokenizer).packed, first.packed)


def test_what_changes_the_codes_changes_the_place(tokenizer: Tokenizer, home: Path) -> None:
    make(tokenizer)
    make(tokenizer, digest="b" * 64)
    make(tokenizer, variants=2)
    cached_codes(tokenizer, "a" * 64, ScenesSource(16, count=11), variants=3, augment=False, workers=0)
    cached_codes(tokenizer, "a" * 64, SOURCE, variants=3, augment=True, workers=0)
    assert len(list((home / "cache" / "codes").iterdir())) == 5


def test_workers_change_nothing(tokenizer: Tokenizer, home: Path) -> None:
    first = np.array(make(tokenizer).packed)
    (file,) = (home / "cache" / "codes").iterdir()
    file.unlink()
    assert np.array_equal(make(tokenizer, workers=1).packed, first)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x93NUMPY\x01\x00"])
def test_a_broken_cache_is_made_again(tokenizer: Tokenizer, home: Path, content: bytes) -> None:
    first = np.array(make(tokenizer).packed)
    (file,) = (home / "cache" / "codes").iterdir()
    file.write_bytes(content)
    assert np.array_equal(make(tokenizer).packed, first)


def test_without_room_for_the_cache_there_is_a_warning_and_no_codes(
    tokenizer: Tokenizer, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cached, "write_codes", full)
    assert make(tokenizer) is None
    err = capsys.readouterr().err
    assert "warning:" in err and "No space left" in err and "BIGR_HOME" in err
    assert list((home / "cache" / "codes").iterdir()) == []


def test_variants_are_augmented(tokenizer: Tokenizer, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (32, 1))] * 3, axis=-1)).save(tmp_path / "a.png")
    source = FolderSource(tmp_path, ("a.png",), (0,), (), 16, flip=True, crop=0.5)
    seen: list[bytes] = []

    class Watched(Tokenizer):
        def sample(self, images: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
            seen.extend(image.numpy().tobytes() for image in images)
            return super().sample(images, seeds)

    watched = Watched(tokenizer.config)
    cached_codes(watched, "", source, variants=4, augment=True, workers=0)
    assert len(set(seen)) == 4


def test_batches_of_codes(tokenizer: Tokenizer) -> None:
    packed = make(tokenizer)
    positions = Positions(len(SOURCE), 4, seed=1)
    batches = list(islice(code_batches(packed, SOURCE, positions), 6))
    for rows, batch in zip(islice(positions, 6), batches, strict=True):
        assert batch.codes is not None
        assert batch.codes.shape == (4, 16, 5)
        assert torch.equal(batch.codes, packed.take(rows))
        assert batch.labels.tolist() == [SOURCE.label(index) for index, _ in rows]
