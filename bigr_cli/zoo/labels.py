"""Names of classes: of ImageNet-1K, which comes with the package, or one a line in a file.

A label may have several names with commas between them; each stands for the class, as long as it is the only one that
has it. Those of ImageNet-1K end with the synset's id: "golden retriever, n02099601". Names and ids are WordNet's
(Princeton University, WordNet License), in the order of the ILSVRC 2012 classes, as timm lists them (Apache License
2.0).
"""

from __future__ import annotations

from pathlib import Path

from bigr_cli.errors import ConfigError
from bigr_cli.text_files import decoded

IMAGENET = "imagenet-1k"


def read_labels(where: str) -> tuple[str, ...]:
    """The labels of ImageNet-1K for "imagenet-1k", or those in a text file.

    Raises:
        ConfigError: the file cannot be read as text.
    """
    file = Path(__file__).with_name(f"{IMAGENET}.txt") if where == IMAGENET else Path(where)
    try:
        text = decoded(file.read_bytes())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read as text: {error}") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())
