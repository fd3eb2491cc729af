"""Options of what is given pictures: which, masks, and how they are painted on."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from bigr_cli.options.base import INPUT, MASK, OUTPUT, PAINTING, option

BlendName = Literal["poisson", "feather", "none"]

Images = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURE",
        help="Pictures: files, folders, patterns such as 'in/*.png', - for stdin.",
        show_default=False,
    ),
]
Recursive = Annotated[bool, option("--recursive", panel=INPUT, help="Take the pictures in subfolders too.")]
Manifest = Annotated[
    Path | None,
    option(
        "--manifest",
        panel=INPUT,
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help='A job a line, as JSON: {"image": "a.png", "seed": 7}. Any option is a key; paths are relative to FILE.',
    ),
]
Watch = Annotated[
    bool, option("--watch", panel=INPUT, help="Go on with pictures that appear in the folders, until Ctrl-C.")
]
DryRun = Annotated[bool, option("--dry-run", panel=OUTPUT, help="Say what would be done, and do nothing.")]
Failures = Annotated[
    Path | None,
    option(
        "--failures",
        panel=OUTPUT,
        metavar="FILE",
        help="Write a line of JSON for each image that failed; with --skip-existing, add it.",
    ),
]

Mask = Annotated[
    Path | None,
    option(
        "--mask",
        panel=MASK,
        metavar="FILE",
        help="An image of the same size: white is repainted, black is kept, grey is mixed; of colours, all but black.",
    ),
]
MaskBox = Annotated[
    list[str] | None,
    option("--mask-box", panel=MASK, metavar="X,Y,W,H", help="A box to repaint, in pixels or %; may be repeated."),
]
MaskAlpha = Annotated[bool, option("--mask-alpha", panel=MASK, help="Repaint what is transparent.")]
InvertMask = Annotated[bool, option("--invert-mask", panel=MASK, help="Repaint what the mask would keep.")]
MaskGrow = Annotated[
    int, option("--mask-grow", panel=MASK, min=0, max=100_000, metavar="N", help="Widen the mask by so many pixels.")
]
MaskThreshold = Annotated[
    float | None,
    option(
        "--mask-threshold",
        panel=MASK,
        min=0,
        max=0.49,
        metavar="T",
        help="What is so near to black or white, on a scale from 0 to 1, counts as black or white. "
        "(Not given: 0.05, and 0.15 in JPEG masks.)",
    ),
]
MaskResize = Annotated[bool, option("--mask-resize", panel=MASK, help="Scale a mask of another size to the picture's.")]

Refine = Annotated[
    int | None,
    option(
        "--refine",
        panel=INPUT,
        min=0,
        max=10_000,
        metavar="N",
        help="Look for codes that give a picture back better than the encoder's, in N steps; 10 are worth 1 to 2 dB. "
        "(Not given: the model's own number.)",
    ),
]

ClassLabel = Annotated[
    str | None, option("--class", panel=PAINTING, metavar="LABEL", help="What to paint: a label by name or number.")
]
Text = Annotated[
    str | None, option("--text", panel=PAINTING, metavar="TEXT", help="What to paint, for models that read texts.")
]
GuessClass = Annotated[
    bool,
    option("--guess-class", panel=PAINTING, help="Take the label under which the model finds the rest likeliest."),
]
BestOf = Annotated[
    int,
    option(
        "--best-of",
        panel=PAINTING,
        min=1,
        max=1024,
        metavar="N",
        help="Paint N variants, and keep the one that the model finds likeliest.",
    ),
]
BlendHow = Annotated[
    BlendName,
    option(
        "--blend",
        panel=PAINTING,
        metavar="NAME",
        help="How the paint is joined to the picture: poisson, feather or none.",
    ),
]
WindowSide = Annotated[
    int | None,
    option(
        "--window",
        panel=PAINTING,
        min=1,
        max=100_000,
        metavar="PX",
        help="How much of the picture the model sees at once, along a side. Without it, the region decides.",
    ),
]
