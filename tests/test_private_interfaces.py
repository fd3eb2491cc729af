"""What is used of other packages without being documented there: when one of them changes, a test here says which name.

`pyproject.toml` bounds the versions; inside the bounds a missing operator turns int8 and prepacked products off, and a
missing name of huggingface_hub ends with an error that names it.
"""

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import file_download, utils

from bigr_cli.errors import RunError
from bigr_cli.runtime import fast_layers
from bigr_cli.zoo.hub import failures

ROOT = Path(__file__).resolve().parents[1]
# Namespace, operator, and how its arguments are called.
OPERATORS = [
    ("mkldnn", "_reorder_linear_weight", ["self", "batch_size"]),
    ("mkldnn", "_linear_pointwise", ["X", "W", "B", "attr", "scalars", "algorithm"]),
    ("onednn", "qlinear_prepack", ["weight", "x_shape"]),
    (
        "onednn",
        "qlinear_pointwise",
        [
            *("qx", "x_scale", "x_zero_point", "qw", "w_scale", "w_zero_point", "bias", "output_scale"),
            *("output_zero_point", "output_dtype", "post_op_name", "post_op_args", "post_op_algorithm"),
        ],
    ),
]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")
@pytest.mark.parametrize(("namespace", "name", "arguments"), OPERATORS)
def test_operators_of_torch(namespace: str, name: str, arguments: list[str]) -> None:
    found = getattr(getattr(torch.ops, namespace), name, None)
    assert found is not None, f"torch {torch.__version__} has no torch.ops.{namespace}.{name}"
    called = [argument.name for argument in found.default._schema.arguments]
    assert called == arguments, f"torch {torch.__version__} calls torch.ops.{namespace}.{name} otherwise: {called}"


@pytest.mark.parametrize(
    ("works", "operator"), [(fast_layers.int8_works, "onednn"), (fast_layers.prepacked_works, "mkldnn")]
)
def test_without_its_operator_a_product_is_off(monkeypatch: pytest.MonkeyPatch, works: Any, operator: str) -> None:
    class Missing:
        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"'_OpNamespace' object has no attribute {name!r}")

    forget = getattr(works, "cache_clear", lambda: None)
    monkeypatch.setattr(torch.ops, operator, Missing())
    forget()
    try:
        assert works() is False
    finally:
        forget()


def test_functions_of_torch() -> None:
    from torch.utils._triton import has_triton

    assert has_triton() in (True, False)
    one, other = [torch.zeros(2)], [torch.ones(2)]
    torch._foreach_lerp_(one, other, 0.25)
    assert one[0].tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("module", "name", "arguments"),
    [
        (file_download, "http_get", {"url", "temp_file", "resume_size", "headers", "expected_size"}),
        (utils, "build_hf_headers", {"library_name", "library_version"}),
        (utils, "WeakFileLock", {"lock_file"}),
        (utils, "are_progress_bars_disabled", set()),
        (utils, "disable_progress_bars", set()),
        (utils, "enable_progress_bars", set()),
    ],
)
def test_names_of_huggingface_hub(module: ModuleType, name: str, arguments: set[str]) -> None:
    found = getattr(module, name, None)
    where = f"huggingface_hub {huggingface_hub.__version__}: {module.__name__}.{name}"
    assert found is not None, f"{where} is gone"
    missing = arguments - set(inspect.signature(found).parameters)
    assert not missing, f"{where} does not take {', '.join(missing)}"


def test_the_transport_s_errors_are_known() -> None:
    """What `httpx` raises when a connection breaks; anything else would end as an internal error."""
    assert issubclass(failures.TRANSPORT, Exception) and failures.TRANSPORT is not Exception
    assert issubclass(huggingface_hub.errors.HfHubHTTPError, failures.TRANSPORT)


def test_a_name_that_is_gone_is_said() -> None:
    with pytest.raises(RunError, match=rf"huggingface_hub {re.escape(huggingface_hub.__version__)} has no") as caught:
        failures.private(utils, "no_such_name")
    assert "huggingface_hub.utils.no_such_name" in str(caught.value)
    assert caught.value.hint == 'pip install "huggingface_hub>=0.26,<3"'


@pytest.mark.parametrize(("package", "bounds"), [("torch", ">=2.9,<3"), ("huggingface_hub", ">=0.26,<3")])
def test_versions_are_bounded(package: str, bounds: str) -> None:
    assert f'"{package}{bounds}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = torch.__version__ if package == "torch" else huggingface_hub.__version__
    assert int(version.partition(".")[0]) < 3
