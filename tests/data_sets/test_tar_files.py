"""Archives as `tar` itself makes them: trees of images, links, dots in names, parts of samples far apart, holes."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from bigr_cli.data import tar_files
from bigr_cli.data.shards import ShardSource
from bigr_cli.data.sources import open_source
from bigr_cli.data.tar_files import find_shards
from bigr_cli.errors import UsageError

pytestmark = pytest.mark.skipif(shutil.which("tar") is None, reason="needs the tar command")

SPARSE = ("--sparse", "--hole-detection=raw")


def image(path: Path, number: int, kind: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (number * 7 % 256, number, 255 - number)).save(path, kind)


def tar(path: Path, folder: Path, *names: str, options: tuple[str, ...] = ()) -> Path:
    subprocess.run(["tar", *options, "-cf", path, "-C", folder, *(names or ("."))], check=True)
    return path


def opened(path: Path, **options: bool) -> ShardSource:
    source = open_source(str(path), 8, **options)
    assert isinstance(source, ShardSource)
    return source


def colours(source: ShardSource) -> set[int]:
    return {int(source.image(index).pixels[0, 0, 1]) for index in range(len(source))}


@pytest.mark.parametrize("format", ["gnu", "pax", "ustar", "v7"])
def test_a_tree_of_images_has_a_class_for_each_folder(tmp_path: Path, format: str) -> None:
    for number in range(12):
        image(tmp_path / "photos" / ("2", "10", "dog")[number % 3] / "deep" / f"{number}.png", number)
    for name, names in (("x.tar", ("photos",)), ("y.tar", ())):
        folder = tmp_path if names else tmp_path / "photos"
        source = opened(tar(tmp_path / name, folder, *names, options=(f"--format={format}",)))
        assert source.labels == ("2", "10", "dog")
        assert len(source) == len(colours(source)) == 12
        assert all(source.label(index) == int(source.image(index).pixels[0, 0, 1]) % 3 for index in range(12))


def test_archives_joined_by_cat_are_read_to_their_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joined = tmp_path / "joined.tar"
    for number in range(6):
        image(tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number}.png", number)
        image(tmp_path / "more" / ("cat", "dog")[number % 2] / f"{number + 6}.png", number + 6)
    parts = [tar(tmp_path / f"{name}.tar", tmp_path / name).read_bytes() for name in ("photos", "more")]
    joined.write_bytes(b"".join(parts))
    source = opened(joined)
    assert len(source) == len(colours(source)) == 12 and source.labels == ("cat", "dog")
    assert "passed over" not in capsys.readouterr().err
    joined.write_bytes(parts[0] + b"\0" * (3 << 20) + b"something else")
    assert len(opened(joined)) == 6
    where = f"from byte {len(parts[0]) + (3 << 20):,} on"
    assert f"joined.tar: 1 file passed over: 1 behind the end of the archive ({where})" in capsys.readouterr().err
    joined.write_bytes(parts[0] + parts[1][:3000])
    with pytest.raises(UsageError, match="is no whole tar file"):
        opened(joined)


def test_an_archive_for_each_class(tmp_path: Path) -> None:
    for number in range(4):
        image(tmp_path / ("cat", "dog")[number % 2] / f"{number}.png", number)
    for name in ("cat", "dog"):
        tar(tmp_path / f"{name}.tar", tmp_path, name)
        shutil.rmtree(tmp_path / name)
    assert opened(tmp_path).labels == ("cat", "dog")
    assert opened(tmp_path / "cat.tar").labels == ()


def test_images_beside_folders_have_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(tmp_path / "d" / "a.png", 1)
    image(tmp_path / "d" / "cat" / "b.png", 2)
    assert opened(tar(tmp_path / "x.tar", tmp_path / "d")).labels == ()
    assert "the folders in it are no classes" in capsys.readouterr().err


def test_dots_in_names(tmp_path: Path) -> None:
    for number in range(6):
        image(tmp_path / "d" / f"IMG_2023.08.{13 + number}.png", number)
        (tmp_path / "d" / f"IMG_2023.08.{13 + number}.cls").write_text(str(number % 2))
        image(tmp_path / "d" / f"v1.{number}.final.jpg", 20 + number)
        (tmp_path / "d" / f"v1.{number}.final.cls").write_text("x")
    source = opened(tar(tmp_path / "x.tar", tmp_path / "d"))
    assert (len(source), source.labels) == (12, ("0", "1", "x"))


def test_inputs_and_outputs_as_parts_of_a_sample(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / "d" / f"s{number}.input.png", number)
        (tmp_path / "d" / f"s{number}.outputs.txt").write_text(f"number {number}")
    source = opened(tar(tmp_path / "x.tar", tmp_path / "d"), captions=True)
    assert sorted(source.captions_of(index)[0] for index in range(3)) == [f"number {n}" for n in range(3)]


def test_further_images_of_samples_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        image(tmp_path / "d" / f"{number}.jpg", number)
        image(tmp_path / "d" / f"{number}.mask.png", 100 + number)
        (tmp_path / "d" / f"{number}.txt").write_text("a cat")
        (tmp_path / "d" / f"{number}.mp4").write_text("film")
    path = tar(tmp_path / "x.tar", tmp_path / "d", options=("--sort=name",))
    for _ in range(2):  # from the archive, and from the index that is kept
        assert len(opened(path, captions=True)) == 2
        said = capsys.readouterr().err
        assert f"{path}: 4 files passed over: " in said
        assert "2 .mp4 (0.mp4, 1.mp4)" in said
        assert "2 further images of samples (0.mask.png, 1.mask.png)" in said


def test_two_images_of_one_name_in_a_tree(tmp_path: Path) -> None:
    image(tmp_path / "d" / "a.png", 1)
    image(tmp_path / "d" / "a.jpg", 2)
    assert len(opened(tar(tmp_path / "x.tar", tmp_path / "d"))) == 2


def test_hard_links_and_symbolic_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(tmp_path / "d" / "a.png", 1)
    os.link(tmp_path / "d" / "a.png", tmp_path / "d" / "b.png")
    (tmp_path / "d" / "a.cls").write_text("0")
    os.link(tmp_path / "d" / "a.cls", tmp_path / "d" / "b.cls")
    (tmp_path / "d" / "c.png").symlink_to("a.png")
    path = tar(tmp_path / "x.tar", tmp_path / "d")
    with tarfile.open(path) as archive:
        assert [member.type for member in archive].count(tarfile.LNKTYPE) == 2
    source = opened(path)
    assert (len(source), source.labels) == (2, ("0",))
    assert "1 symbolic links (c.png)" in capsys.readouterr().err


def test_parts_of_samples_far_apart_and_written_again(tmp_path: Path) -> None:
    for number in range(4):
        image(tmp_path / "d" / f"{number}.png", number)
        (tmp_path / "d" / f"{number}.cls").write_text("old")
    path = tar(tmp_path / "x.tar", tmp_path / "d", *(f"{number}.png" for number in range(4)))
    for label in ("old", "new"):
        for number in range(4):
            (tmp_path / "d" / f"{number}.cls").write_text(f"{label}{number % 2}")
        names = [f"{number}.cls" for number in range(4)]
        subprocess.run(["tar", "-rf", path, "-C", tmp_path / "d", *names], check=True)
    source = opened(path)
    assert (len(source), source.labels) == (4, ("new0", "new1"))


@pytest.mark.parametrize("suffix", [".avif", ".jp2", ".ppm", ".ico", ".jfif", ".apng", ".JPE", ".dib"])
def test_every_kind_of_image(tmp_path: Path, suffix: str) -> None:
    kinds = {".jfif": "JPEG", ".JPE": "JPEG", ".apng": "PNG", ".dib": "BMP"}
    for number in range(2):
        image(tmp_path / "d" / f"{number}{suffix}", number, kinds.get(suffix))
    assert len(opened(tar(tmp_path / "x.tar", tmp_path / "d"))) == 2


@pytest.mark.parametrize("format", ["gnu", "pax"])
@pytest.mark.parametrize("name", ["zz.txt", "zz.json", "zz.png"])
def test_sparse_files_are_refused_by_name(tmp_path: Path, format: str, name: str) -> None:
    image(tmp_path / "d" / "a.png", 1)
    with (tmp_path / "d" / name).open("wb") as stream:
        stream.truncate(40 * 2**30)
    path = tar(tmp_path / "x.tar", tmp_path / "d", "a.png", name, options=(f"--format={format}", *SPARSE))
    assert path.stat().st_size < 100_000
    with pytest.raises(UsageError, match=rf"x\.tar: {name} is stored as a sparse file") as raised:
        opened(path)
    assert "--sparse" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("name", "size"), [("a.png", 5 * 2**30), ("a.txt", 2**25), ("a.cls", 2**25), ("a.json", 2**33)]
)
def test_huge_members_are_refused_by_name(tmp_path: Path, name: str, size: int) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = size
        archive.fileobj.write(member.tobuf())  # type: ignore[union-attr]
    with (tmp_path / "x.tar").open("r+b") as stream:
        stream.truncate(512 + size + 1024)
    with pytest.raises(UsageError, match=rf"x\.tar: {name} has {size:,} bytes; at most"):
        opened(tmp_path / "x.tar")


def test_a_huge_file_that_is_no_sample_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(tmp_path / "d" / "a.png", 1)
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "d" / "a.png", "a.png")
        member = tarfile.TarInfo("film.mp4")
        member.size = 5 * 2**30
        place = archive.fileobj.tell()  # type: ignore[union-attr]
        archive.fileobj.write(member.tobuf())  # type: ignore[union-attr]
    with (tmp_path / "x.tar").open("r+b") as stream:
        stream.truncate(place + 512 + member.size + 1024)
    assert len(opened(tmp_path / "x.tar")) == 1
    assert "1 .mp4 (film.mp4)" in capsys.readouterr().err


@pytest.mark.parametrize("size", [-512, -1024, -(2**40)])
def test_sizes_below_zero_end(tmp_path: Path, size: int) -> None:
    member = tarfile.TarInfo("a.png")
    block = bytearray(member.tobuf())
    block[124:136] = b"\xff" + size.to_bytes(11, "big", signed=True)
    block[148:156] = b"        "
    block[148:156] = f"{sum(block[:512]):06o}\0 ".encode()
    (tmp_path / "x.tar").write_bytes(bytes(block) + bytes(1024))
    with pytest.raises(UsageError, match=r"x\.tar: is no whole tar file"):
        opened(tmp_path / "x.tar")


def test_headers_that_claim_gigabytes(tmp_path: Path) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        member = tarfile.TarInfo("x")
        member.type, member.size = kind, 2**40
        (tmp_path / "x.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
        with pytest.raises(UsageError, match=r"is no whole tar file \(a header at byte 0 claims"):
            opened(tmp_path / "x.tar")


def test_names_that_are_not_utf8_and_names_with_escapes(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9/1.png"), "\x1b[31m/2.png"]
    for number, name in enumerate(names):
        image(tmp_path / "d" / name, number)
    source = opened(tar(tmp_path / "x.tar", tmp_path / "d"))
    assert source.labels == ("\x1b[31m", "caf\\xe9")
    assert len(source.name_hashes()) == 2


def test_folders_of_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        image(tmp_path / "d" / f"{number}.png", number)
        (tmp_path / "sh[2024]" / "deep").mkdir(parents=True, exist_ok=True)
        tar(tmp_path / "sh[2024]" / f"{number}.tar", tmp_path / "d", f"{number}.png")
    tar(tmp_path / "sh[2024]" / "deep" / "9.tar", tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for where, count in (
        ("sh[2024]", 3),
        ("./sh[2024]/", 3),
        ("sh[2024]/0.tar", 1),
        ("sh[2024]/*.tar", 2),
        ("sh[2024]/[0].tar", 1),
        ("sh[2024]/{0..1}.tar", 2),
        ("sh[2024]/{0,1}.tar", 2),
        ("sh[2024]/**/*.tar", 3),
        ("~/sh[2024]/0.tar", 1),
        ("~/sh*/*.tar", 2),
    ):
        assert len(find_shards(where)) == count, where
    image(tmp_path / "sh[2024]" / "x.png", 3)
    assert find_shards("sh[2024]") == []
    assert len(open_source("sh[2024]", 8)) == 1
    assert "3 .tar (0.tar, 1.tar, deep/9.tar)" in capsys.readouterr().err
    os.mkfifo("pipe.tar")
    with pytest.raises(UsageError, match=r"pipe\.tar: is a named pipe, not a file"):
        find_shards("pipe.tar")


def test_limits_are_those_of_the_module() -> None:
    assert tar_files.LARGEST_IMAGE < 2**32  # the index has 32 bits for sizes
