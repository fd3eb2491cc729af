"""The accuracy of linear probes by layer, as a picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from bigr_cli.errors import UsageError
from bigr_cli.imaging.files import write_bytes

KINDS = (".svg", ".png")


def check_plot(path: Path) -> None:
    """Raise UsageError unless a plot can have this name."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"{path}: expected a name that ends with {' or '.join(KINDS)}")


def write_layer_plot(
    path: Path,
    curves: Mapping[str, Sequence[float]],
    baselines: Mapping[str, float],
    *,
    best: int,
    title: str,
    overwrite: bool = False,
) -> None:
    """Draw shares of right answers by layer; the same numbers give the same file.

    Args:
        curves: by name, one number from 0 to 1 for each layer.
        baselines: by name, what has no layers.
        best: the layer that is marked, on the first curve.

    Raises:
        UsageError: as `check_plot`, or there is something at `path`.
        RunError: it cannot be written.
    """
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for index, (name, shares) in enumerate(curves.items()):
        percent = [100 * share for share in shares]
        axes.plot(range(len(shares)), percent, "o--" if index else "o-", markersize=4, color="C0", label=name)
    first = next(iter(curves.values()))
    axes.plot(best, 100 * first[best], "o", markersize=10, markerfacecolor="none", color="C0")
    for index, (name, share) in enumerate(baselines.items(), start=1):
        axes.axhline(100 * share, color=f"C{index}", linewidth=1.2, linestyle=":", label=f"{name}, {100 * share:.1f} %")
    axes.set(xlabel="block of the generator", ylabel="accuracy (%) ↑", title=title, ylim=(0, None))
    axes.set_xticks(range(len(first)))
    axes.grid(alpha=0.25)
    figure.legend(loc="outside right upper", frameon=False)
    stream = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    with rc_context({"svg.hashsalt": "bigr"}):  # otherwise the names inside an SVG are drawn by lot
        figure.savefig(stream, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else {})
    write_bytes(path, stream.getvalue(), overwrite=overwrite)
