"""`bigr doctor`: what this installation has and what it will use."""

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bigr_cli import console, home
from bigr_cli.options import Json
from bigr_cli.registry import discover, task
from bigr_cli.runtime import device
from bigr_cli.version import __version__

REQUIRED = (
    *("torch", "torchvision", "accelerate", "safetensors", "numpy", "pillow", "av", "torch-fidelity"),
    *("huggingface_hub", "typer", "rich"),
)
OPTIONAL = {
    "tensorboard": "training curves (--tensorboard)",
    "lpips": "the LPIPS distance",
    "pyarrow": "embeddings as .parquet",
    "transformers": "text encoders of text-conditioned models",
}


@task(
    "doctor",
    help="Show versions, devices, memory and folders, and what will be used.",
    examples=["bigr doctor", "bigr doctor --json"],
)
def doctor(json: Json = False) -> None:
    """Measures each device with a matrix product, and says which number format --dtype auto takes there."""
    findings = examine()
    if json:
        console.json_line(findings)
    else:
        for line in _lines(findings):
            console.result(line)


def examine() -> dict[str, Any]:
    """Everything that `bigr doctor` tells, as plain data."""
    import torch

    from bigr_cli.core.architectures import BYTES
    from bigr_cli.editing.mask_finders import finder_entry_points
    from bigr_cli.zoo.find import home_models, packaged_models
    from bigr_cli.zoo.text_encoders.features import encoder_entry_points

    devices = device.describe()
    return {
        "version": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in REQUIRED},
        "optional": {name: _version(name) for name in OPTIONAL},
        "devices": [vars(found) for found in devices],
        "device": devices[0].name,
        "dtype": devices[0].dtype,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": device.main_memory(),
        "home": home.shown(home.data_dir()),
        "cache": home.shown(home.cache_dir()),
        "models": {str(folder): _models_in(folder) for folder in (home_models(), packaged_models())},
        "disk_free": _free(home.data_dir()),
        "text_encoders": [BYTES, *encoder_entry_points()],
        "mask_finders": [*finder_entry_points()],
        "plugins": sorted({str(entry.origin) for entry in discover().tasks.values()}),
        "faults": [str(fault) for fault in discover().faults],
        "environment": {name: value for name, value in sorted(os.environ.items()) if name.startswith("BIGR_")},
    }


def _lines(findings: dict[str, Any]) -> list[str]:
    rows = [
        ("bigr", f"{findings['version']} on Python {findings['python']}, {findings['platform']}"),
        ("packages", _joined(findings["packages"])),
    ]
    for name, installed in findings["optional"].items():
        rows.append((f"  {name}", f"{installed or 'not installed'}: {OPTIONAL[name]}"))
    rows.append(("device", f"{findings['device']} in {findings['dtype']}, by --device auto --dtype auto"))
    for found in findings["devices"]:
        rates = ", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in found["rates"].items())
        rows.append((f"  {found['name']}", f"{found['model']}, {_gigabytes(found['memory'])}, {rates}"))
    rows += [
        ("threads", f"{findings['threads']} on {findings['cores']} cores"),
        ("memory", _gigabytes(findings["memory"])),
        ("home", f"{findings['home']} ({_gigabytes(findings['disk_free'])} free)"),
        ("cache", findings["cache"]),
        *(("models", f"{', '.join(names) or 'none'} in {folder}") for folder, names in findings["models"].items()),
        ("text encoders", ", ".join(findings["text_encoders"])),
        ("mask finders", ", ".join(findings["mask_finders"])),
        ("tasks from", ", ".join(findings["plugins"])),
        *(("  left out", fault) for fault in findings["faults"]),
        *((f"  {name}", value) for name, value in findings["environment"].items()),
    ]
    width = max(len(label) for label, _ in rows)
    return [f"{label:<{width}}  {text}" for label, text in rows]


def _models_in(folder: Path) -> list[str]:
    from bigr_cli.zoo.find import list_models

    found = [entry for entry in list_models() if entry.directory.parent == folder]
    return [entry.name if entry.state == "ready" else f"{entry.name} ({entry.state})" for entry in found]


def _joined(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {installed or 'MISSING'}" for name, installed in versions.items())


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size else "unknown"


def _free(folder: Path) -> int:
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
