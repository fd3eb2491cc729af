"""Note what many commands write and print, so that a change which should change nothing can show that it does not.

python scripts/fingerprint.py -o before.json            # with the package that PYTHONPATH names
python scripts/fingerprint.py -o after.json --compare before.json

Every command runs in this process, in one folder, on the CPU with one thread, in float32, with fixed seeds. Noted are
the exit code and the SHA-256 of stdout, of stderr and of every file that is new or changed, without seconds and rates.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

for name in [name for name in os.environ if name.startswith("BIGR_")]:
    del os.environ[name]
os.environ |= {"BIGR_PLUGINS": "none", "OMP_NUM_THREADS": "1", "COLUMNS": "100", "TERM": "dumb"}

PLACE = Path(tempfile.gettempdir()) / "bigr-fingerprint"  # the same each time, since recipes and messages may name it
QUICK = "--steps 3 --timesteps 4 --device cpu --dtype float32 --threads 1"
TEXT = "-m scenes-64-text"
BOX = "--mask-box 25%,25%,50%,50%"
SECONDS = re.compile(rb'"(seconds|created|date|images_per_second|pictures_per_second)": [^,}\n]+')

# A line each; what follows "|" is a file for stdin. Files of earlier commands are there for later ones.
COMMANDS = f"""
--version
--help
tasks
tasks --json
generate --help
inpaint --help
models list
models show scenes-64
models labels scenes-64
generate cat --seed 7 {QUICK}
generate cat bird --seed 7 {QUICK}
generate cat house -n 2 --seed 7 {QUICK} -o made/ --json
generate cat -n 4 --seed 3 {QUICK} --grid sheet.png --captions --columns 2 -o many/
generate cat --seed 3 {QUICK} --steps-preview film.gif -o preview.png
generate fish none 3 --seed 1 {QUICK} --order halton --guidance-schedule cosine -o 'p/{{label}}-{{index:03}}.webp'
generate cat --seed 5 {QUICK} --negative bird --temperature 0.8 --guidance-interval 0.1,0.8 -o negative.jpg
generate cat --seed 5 {QUICK} --preset draft -o draft.png
generate cat --seed 5 {QUICK} --rank-timesteps 2 --last-timesteps 2 --tolerance 0.01 -o short.tif
generate cat --seed 5 {QUICK} -o -
generate --recipe negative.jpg -o again.png --json
generate --prompts words.txt --seed 2 {QUICK} -o prompted/
generate 'a red house on grass at night' {TEXT} --seed 4 {QUICK} --negative 'at night' -o text.png --json
generate cat --seed 7 {QUICK} -o made/ --skip-existing
generate catt
generate cat --steps 0
generate cat --seed 9223372036854775807 -n 2
generate cat -o x.xyz
inpaint a.png {BOX} --seed 3 {QUICK} -o inpainted.png --json
inpaint a.png --mask mask.png --class house --seed 3 {QUICK} --blend feather -o masked.png
inpaint a.png --mask mask.png --invert-mask --mask-grow 3 --guess-class --seed 3 {QUICK} -o inverted.png --json
inpaint rgba.png --mask-alpha --class boat --negative cat --seed 3 {QUICK} -o alpha.png
inpaint a.png {BOX} --class cat --best-of 3 --seed 3 {QUICK} -o best.png --json
inpaint images {BOX} --seed 1 {QUICK} -n 2 -o out/ --json --grid before-after.png
inpaint images {BOX} --seed 1 {QUICK} -o dry/ --dry-run --json
inpaint images {BOX} --seed 1 {QUICK} -n 2 -o out/ --skip-existing
inpaint images broken.png {BOX} --seed 1 {QUICK} -o some/ --failures failures.jsonl
inpaint --manifest jobs.jsonl --seed 9 {QUICK} -o jobs/ --json
inpaint --manifest wrong.jsonl --seed 9 {QUICK} -o jobs/
inpaint - {BOX} --seed 3 {QUICK} -o - | a.png
inpaint --recipe masked.png a.png --mask mask.png -o recipe.png
inpaint grey.png {BOX} --window 40 --seed 3 {QUICK} -o grey-out.png --no-metadata
inpaint a.png {BOX} {TEXT} --text 'a blue boat' --negative 'a red house' --seed 3 {QUICK} -o text-in.png --json
inpaint a.png
inpaint a.png {BOX} --class catt
inpaint a.png {BOX} --class cat --guess-class
inpaint a.png {BOX} --text boat
inpaint a.png --mask grey.png --seed 1 --device cpu --dtype float32
inpaint broken.png {BOX} --seed 1 --device cpu --dtype float32
inpaint gone.png {BOX}
outpaint a.png --right 50% --top 10 --class boat --seed 3 {QUICK} -o wide.png --json
outpaint a.png --aspect 16:9 --seed 3 {QUICK} --guess-class -o aspect.jpg
outpaint a.png --size 120x90 --best-of 2 --seed 3 {QUICK} -o size.png --json
outpaint a.png {BOX} --seed 3 {QUICK} -o kept.png
outpaint a.png
outpaint a.png --left 5 --size 100x100
edit a.png --class house {BOX} --from-class cat --seed 3 {QUICK} -o edited.png --json
edit a.png --class mushroom --strength 0.8 -n 2 --seed 3 {QUICK} -o strength/ --json
edit rgba.png --class mushroom --window 50 --seed 3 {QUICK} -o whole.png
edit a.png {TEXT} --text 'a red house' --from-class 'a cat' --seed 3 {QUICK} -o text-edit.png --json
edit a.png
edit a.png --class cat --strength 0.5 {BOX}
edit a.png --class cat --from-class bird --negative fish
enrich a.png --seed 3 {QUICK} -o enriched.png --json
enrich a.png --scale 2 --sharpen-only --passes 2 --guess-class --seed 3 {QUICK} -o scaled.png --json
enrich grey.png --reduce --strength 1 --rate 3 --groups 5 --class cat --seed 3 {QUICK} -o reduced.png
enrich a.png --rate 1 --groups 3
interpolate cat boat --frames 4 --seed 3 {QUICK} -o strip.png --json
interpolate cat boat house --loop --frames 5 --strength 1 --seed 3 {QUICK} -o frames/ --json
interpolate a.png rgba.png --frames 4 --refine 2 --seed 3 {QUICK} -o between.gif --json
interpolate a.png b.png --frames 3 --class cat --seed 3 {QUICK} --fps 10 -o between.webp
interpolate 'a red house' 'a blue boat' {TEXT} --frames 3 --seed 3 {QUICK} -o texts.png
interpolate cat boat --frames 3 --seed 3 {QUICK} -o -
interpolate cat
interpolate cat a.png
interpolate cat boat --refine 3
embed a.png b.png images -o features.npy --device cpu --dtype float32
embed a.png -o features.jsonl --layer 2
embed a.png -o codes.npz --pool codes --device cpu --dtype float32
evaluate reconstruction scenes -n 4 --device cpu --metrics psnr,ssim --json
info masked.png
info --json strip.png
info edited.png
info negative.jpg
data scenes -o scenes -n 4 --seed 5 --size 32 -q
classify a.png b.png --device cpu --dtype float32 --json
embed images -o index.safetensors --device cpu --dtype float32
search index.safetensors a.png --device cpu --dtype float32 --json
evaluate probe
train-generator --data nowhere
"""


def main() -> int:
    """Run the commands, note, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--compare", type=Path, help="an earlier result; differences are listed, and end with 1")
    parser.add_argument("--only", default="", help="lines with this text alone (which may need files of others)")
    arguments = parser.parse_args()
    output, compare = arguments.output.absolute(), arguments.compare and arguments.compare.absolute()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    os.environ["BIGR_HOME"] = str(PLACE / "home")
    os.chdir(PLACE)
    _inputs()
    noted = {line: _run(line) for line in COMMANDS.strip().splitlines() if arguments.only in line}
    output.write_text(json.dumps(noted, indent=1))
    print(f"{len(noted)} commands, {sum(len(entry['files']) for entry in noted.values())} files: {output}")
    differences = list(_differences(json.loads(compare.read_text()), noted)) if compare else []
    print(*differences, sep="\n", end="\n" if differences else "")
    return 1 if differences else 0


def _inputs() -> None:
    import numpy as np
    from PIL import Image

    def noise(width: int, height: int, seed: int) -> Image.Image:
        small = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)

    noise(80, 64, 0).save("a.png")
    noise(64, 64, 1).save("b.png")
    noise(96, 64, 2).convert("L").save("grey.png")
    rgba = noise(72, 72, 3).convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize((72, 72)).point(lambda level: 0 if level < 80 else 255))
    rgba.save("rgba.png")
    mask = Image.new("L", (80, 64))
    mask.paste(255, (20, 20, 50, 50))
    mask.save("mask.png")
    Path("pictures").mkdir()
    for index in range(3):
        noise(64 + 8 * index, 64, 10 + index).save(f"pictures/p{index}.png")
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Path("words.txt").write_text("cat\n3\nnone\n")
    lines: list[dict[str, Any]] = [
        {"image": "a.png", "mask-box": "0,0,20,20", "class": "cat", "seed": 5},
        {"image": ["b.png", "a.png"], "mask-box": ["0,0,20,20", "30,30,9,9"], "count": 2, "guess_class": True},
        {"image": "a.png", "mask": "mask.png", "steps": 2, "output": "made/manifest.png", "blend": "none"},
    ]
    Path("jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    Path("wrong.jsonl").write_text('{"image": "a.png", "mask-box": "0,0,4,4"}\n{"image": "a.png", "masc": 3}\n')


def _run(line: str) -> dict[str, Any]:
    import shlex

    from bigr_cli.app import main as bigr

    words, _, stdin = line.partition(" | ")
    before = _files()
    with _captured(stdin.strip()) as streams:
        code = bigr(shlex.split(words))
    after = _files()
    changed = {name: digest for name, digest in sorted(after.items()) if before.get(name) != digest}
    return {"code": code, **{name: text for name, text in streams.items()}, "files": changed}


@contextmanager
def _captured(stdin: str) -> Iterator[dict[str, str]]:
    """stdout and stderr of the block: SHA-256 and, if short, the text."""
    found: dict[str, str] = {}
    saved = [os.dup(number) for number in range(3)]
    source = os.open(stdin or os.devnull, os.O_RDONLY)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        for number, target in enumerate((source, out.fileno(), err.fileno())):
            os.dup2(target, number)
        sys.stdin = os.fdopen(0, closefd=False)
        try:
            yield found
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate([*saved]):
                os.dup2(copy, number)
                os.close(copy)
            os.close(source)
            for name, stream in (("out", out), ("err", err)):
                stream.seek(0)
                data = _timeless(stream.read())
                text = data.decode(errors="replace") if len(data) < 2000 and b"\x00" not in data else ""
                found |= {name: hashlib.sha256(data).hexdigest(), f"{name}_text": text}


def _timeless(data: bytes) -> bytes:
    """The data without seconds, and without the package's own place."""
    import bigr_cli

    place = str(Path(bigr_cli.__file__).resolve().parent.parent)
    return SECONDS.sub(rb'"\1": 0', data.replace(place.encode(), b"PLACE"))


def _files() -> dict[str, str]:
    found = {}
    for path in Path().rglob("*"):
        if path.is_file() and not path.is_relative_to("home"):
            found[str(path)] = hashlib.sha256(_timeless(path.read_bytes())).hexdigest()
    return found


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for line in after:
        if line not in before:
            yield f"new: bigr {line}"
            continue
        one, other = before[line], after[line]
        names = sorted({*one["files"], *other["files"]})
        wrong = [name for name in ("code", "out", "err") if one[name] != other[name]]
        wrong += [name for name in names if one["files"].get(name) != other["files"].get(name)]
        if wrong:
            yield f"differs: bigr {line}\n  in {', '.join(wrong)}"
            for name in ("out_text", "err_text"):
                if one[name] != other[name]:
                    yield f"  before: {one[name]!r}\n  after:  {other[name]!r}"


if __name__ == "__main__":
    sys.exit(main())
