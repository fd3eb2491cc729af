"""Options of whatever draws: the model, what is drawn and how, and where it goes."""

from pathlib import Path
from typing import Annotated

from bigr_cli.core import config
from bigr_cli.options.base import OUTPUT, SAMPLING, Interval, checked_seed, number, option, parse_interval

Model = Annotated[
    str | None,
    option(
        "-m",
        "--model",
        panel="Model",
        metavar="NAME|DIR",
        help="A model by name (see bigr models list) or by folder. Without it, the default model.",
    ),
]

Output = Annotated[
    str | None,
    option(
        "-o",
        "--output",
        panel=OUTPUT,
        metavar="FILE|DIR|-",
        help="Where to write: a file, a folder, a pattern, or - for stdout.",
    ),
]
Overwrite = Annotated[bool, option("--overwrite", panel=OUTPUT, help="Replace files that are there already.")]
SkipExisting = Annotated[
    bool, option("--skip-existing", panel=OUTPUT, help="Leave files that are there already, and go on.")
]
NoMetadata = Annotated[bool, option("--no-metadata", panel=OUTPUT, help="Leave the recipe out of the pictures.")]
Json = Annotated[bool, option("--json", panel=OUTPUT, help="Print one line of JSON per result.")]

Grid = Annotated[
    str | None,
    option("--grid", panel=OUTPUT, metavar="FILE", help="Write a contact sheet of all pictures too."),
]

Count = Annotated[
    int, option("-n", "--count", panel=SAMPLING, min=1, metavar="N", help="How many pictures of each label or input.")
]
Seed = Annotated[
    int | None,
    option(
        "--seed",
        panel=SAMPLING,
        metavar="N",
        callback=checked_seed,
        help="The same seed gives the same picture. Without it one is drawn, said and recorded.",
    ),
]
Preset = Annotated[
    config.Preset | None,
    option(
        "--preset",
        panel=SAMPLING,
        metavar="NAME",
        help=f"Settings that belong together, from best to fastest: {', '.join(config.PRESETS)}.",
    ),
]
Steps = Annotated[
    int | None,
    option("--steps", panel=SAMPLING, min=1, metavar="N", help="Iterations in which the tokens are settled."),
]
Timesteps = Annotated[
    int | None,
    option("--timesteps", panel=SAMPLING, min=1, metavar="N", help="Denoising steps of the transcoder per token."),
]
RankTimesteps = Annotated[
    int | None,
    option(
        "--rank-timesteps",
        panel=SAMPLING,
        min=0,
        metavar="N",
        help="Rank the masked tokens by so few steps, and give all steps to those alone that are kept; 0: to all.",
    ),
]
LastTimesteps = Annotated[
    int | None,
    option(
        "--last-timesteps",
        panel=SAMPLING,
        min=0,
        metavar="N",
        help="Denoising steps in the last iteration, fewer from one to the next; 0: the same in all.",
    ),
]
Tolerance = Annotated[
    float | None,
    option(
        "--tolerance",
        panel=SAMPLING,
        metavar="P",
        callback=number(0, 1),
        help="Leave a token when no bit's probability has changed by more since the last step; 0: never.",
    ),
]
Guidance = Annotated[
    float | None,
    option(
        "--guidance",
        panel=SAMPLING,
        metavar="SCALE",
        callback=number(0),
        help="How strongly to follow the label: 1 plainly, 0 not at all, more exaggerates.",
    ),
]
GuidanceSchedule = Annotated[
    config.GuidanceSchedule | None,
    option(
        "--guidance-schedule",
        panel=SAMPLING,
        metavar="NAME",
        help=f"How guidance grows over the iterations: {', '.join(config.GUIDANCE_SCHEDULES)}.",
    ),
]
GuidanceInterval = Annotated[
    Interval | None,
    option(
        "--guidance-interval",
        panel=SAMPLING,
        metavar="A,B",
        parser=parse_interval,
        help="The share of the iterations in which guidance acts, such as 0.1,0.8.",
    ),
]
Order = Annotated[
    config.Order | None,
    option(
        "--order",
        panel=SAMPLING,
        metavar="NAME",
        help=f"Which tokens are settled first: {', '.join(config.ORDERS)}.",
    ),
]
Gumbel = Annotated[
    float | None,
    option(
        "--gumbel",
        panel=SAMPLING,
        metavar="SCALE",
        callback=number(0),
        help="Noise on the order in which tokens are settled; 0 is none.",
    ),
]
GumbelSchedule = Annotated[
    config.GumbelSchedule | None,
    option(
        "--gumbel-schedule",
        panel=SAMPLING,
        metavar="NAME",
        help=f"How that noise changes over the iterations: {', '.join(config.GUMBEL_SCHEDULES)}.",
    ),
]
Temperature = Annotated[
    float | None,
    option(
        "--temperature",
        panel=SAMPLING,
        metavar="T",
        callback=number(0, above=True),
        help="Below 1 surer and plainer, above 1 more varied.",
    ),
]
Recipe = Annotated[
    Path | None,
    option(
        "--recipe",
        panel=SAMPLING,
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="Settings from a picture made earlier, or its JSON; options given explicitly win.",
    ),
]
Negative = Annotated[
    str | None,
    option("--negative", panel=SAMPLING, metavar="LABEL|TEXT", help="What guidance leads away from, instead of none."),
]
