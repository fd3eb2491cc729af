"""The model: what `bigr_cli.load` gives, and all that commands and Python code do with it.

```python
model = bigr_cli.load("scenes-64")
images = model.generate("cat", count=4, seed=0)
```
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch

from bigr_cli.arguments import methods_in_python
from bigr_cli.core.config import SamplingConfig
from bigr_cli.editing import from_python as editing
from bigr_cli.editing.generate import Generated, Job, Watcher, generated, images_of
from bigr_cli.editing.request import Request
from bigr_cli.editing.requests import Edit, Enrich, Inpaint, Outpaint
from bigr_cli.editing.requests import Mask as MaskSearch
from bigr_cli.imaging.arrays import encode_images, is_one_image, originals
from bigr_cli.imaging.metadata import MadeImage
from bigr_cli.loaded import LoadedModel
from bigr_cli.progress import ProgressOption
from bigr_cli.prompts import Label
from bigr_cli.runtime.memory import Batches
from bigr_cli.setting import with_own_names
from bigr_cli.zoo.find import default_model, find_model
from bigr_cli.zoo.loading import load_networks

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

    from bigr_cli.imaging.arrays import Images, OneImage
    from bigr_cli.representation.embedding import Embedded
    from bigr_cli.representation.index_files import Found, Index
    from bigr_cli.representation.probe import Probed
    from bigr_cli.representation.probe_files import Classified, Probe

    OneMask = Image | NDArray[Any] | str | PathLike[str] | None
    Mask = OneMask | Sequence[OneMask]


def load(
    name_or_dir: str | PathLike[str] | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    offload: bool = False,
    device_map: str | None = None,
    compile: bool = False,
) -> Model:
    """A model, ready to use.

    Args:
        name_or_dir: a model's name or folder; None is the default model.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        dtype: "auto", "float32", "bfloat16", "float16" or "int8", for the generator; the tokenizer stays in float32.
        threads: how many CPU threads torch may use; None leaves that to torch.
        offload: keep the transformer's blocks outside of the device's memory, and bring each when it is its turn.
        device_map: "auto" does so with the blocks that have no room, and uses all GPUs.
        compile: have torch compile the generator for the GPU, which happens when it is first used.

    Raises:
        UsageError: two of `offload`, `device_map` and `compile` are given, or a `device_map` that there is not.
        ModelError: there is no such model, or it is damaged.
        DeviceError: there is no such device or format here, or it cannot compile.
    """
    wanted = default_model() if name_or_dir is None else fspath(name_or_dir)
    directory = find_model(wanted)
    placing: dict[str, Any] = {"offload": offload, "device_map": device_map, "compile": compile}
    network, config = load_networks(directory, device=device, dtype=dtype, threads=threads, **placing)
    if directory == Path(wanted).expanduser():
        return Model(network, config, folder=wanted)
    return Model(network, config, name=directory.name)


@methods_in_python(
    *("generate", "generate_iter", "inpaint", "outpaint", "edit", "enrich", "mask", "interpolate", "embed", "search"),
    *("classify", "probe", "evaluate_generation", "evaluate_reconstruction", "encode", "reconstruct"),
)
class Model(LoadedModel):
    """A tokenizer and a generator with their config, on a device: what `load` gives.

    Methods and their arguments are called as the commands and their options, with underscores. Images go in as PIL
    images, paths, NumPy arrays or tensors (see `bigr_cli.imaging.arrays.originals`), and come out as PIL images that
    carry their recipe (`MadeImage`). Where a method takes images, one gives one result and a list gives a list.

    `progress` of the longer methods: True shows a bar, False none; a function is called with what is done and the
    total, as `progress(3.0, 8.0)`; without it, a bar is shown on a terminal and in a notebook. `batch_size` is how many
    images are worked on at once, on which results do not depend; without it, as many as pay and fit into memory.
    """

    def generate(
        self, labels: Label | Sequence[Label] = (), *, count: int = 1, seed: int | None = None, **options: Any
    ) -> list[MadeImage]:
        """Images of these labels or texts, `count` of each, in their order.

        Args:
            labels: a label or several, each by name or number, or texts if the model reads those; None is no label,
                and "all" every one. `prompt` or `prompts` is the same; `prompts` may be a file with one a line.
            count: how many images of each; `num_images`, `num_images_per_prompt` and `num_samples` are the same.
            seed: of the first image; image i has seed + i. None takes a random one.
            options: `negative`, a label or text that guidance leads away from; `batch_size`, how many to sample at
                once, on which the images do not depend; `progress`; settings of the sampler, such as `steps` and
                `guidance`, or a `preset` such as "fast", instead of the model's own.

        Returns:
            RGB images of the model's size, the variants of the first label first.

        Raises:
            UnknownNameError: a label that the model has not.
            UsageError: a setting, count or seed out of range. WrongTypeError, which is a TypeError: no number.
        """
        return [image.image for image in self.generate_iter(labels, count=count, seed=seed, **options)]

    def generate_iter(
        self,
        labels: Label | Sequence[Label] = (),
        *,
        count: int = 1,
        seed: int | None = None,
        negative: Label = None,
        batch_size: int | None = None,
        progress: ProgressOption = None,
        **sampling: Any,
    ) -> Iterator[Generated[MadeImage]]:
        """As `generate`, but each image as soon as its batch is done, with its label, seed and seconds.

        Errors are raised by this call itself.
        """
        return images_of(
            self,
            labels,
            count=count,
            seed=seed,
            negative=negative,
            batch_size=batch_size,
            progress=progress,
            sampling=sampling,
        )

    def make(
        self,
        jobs: Sequence[Job],
        settings: SamplingConfig,
        *,
        batch_size: int | None = None,
        watch: Watcher | None = None,
    ) -> Iterator[Generated[Image]]:
        """The images of these jobs, batch by batch; `watch` is called after each iteration of the sampler.

        A batch that does not fit into memory is halved, with a warning, and so are those after it; RunError, with the
        first image, if one alone does not fit. UsageError if the batch size is below 1.
        """
        batches = Batches(self.batch_size() if batch_size is None else batch_size)
        return generated(self.network, jobs, settings, batches, watch)

    @overload
    def inpaint(self, image: OneImage, mask: Mask = None, *, count: None = None, **options: Any) -> MadeImage: ...
    @overload
    def inpaint(self, image: Images, mask: Mask = None, *, count: int, **options: Any) -> list[MadeImage]: ...
    @overload
    def inpaint(
        self, image: Sequence[OneImage], mask: Mask = None, *, count: None = None, **options: Any
    ) -> list[MadeImage]: ...
    def inpaint(
        self, image: Images, mask: Mask = None, *, count: int | None = None, **options: Any
    ) -> MadeImage | list[MadeImage]:
        """The image with its masked part sampled anew; the rest comes back bit for bit.

        Args:
            image: of any size and mode, or several, which are sampled together in batches.
            mask: of the same size, an image (white repaints), a file of one, or an array (H, W), bool, from 0 to 1, or
                levels; for several images one for all or one each. Instead, or besides, `mask_box=(x, y, w, h)`,
                `mask_alpha`, `mask_grow` and so on, as the command takes them.
            count: the number of variants of each image, of which variant i has seed + i; gives a list.
            options: fields of the request `Inpaint` (`label`, `negative`, `best_of`, `blend`, …) or options of the
                command; settings of the sampler, such as `steps` and `preset`, instead of the model's own; `seed`, of
                which None takes a random one; `batch_size`, on which the images do not depend; `progress`.

        Returns:
            One image for one; for several, or with `count`, a list: the variants of the first image, then those of the
            second, and so on. Mode and size are those of the image.

        Raises:
            TypeError: something that is no image.
            UsageError: no mask, a mask of another size, a setting, count or seed out of range.
            UnknownNameError: a label that the model has not.
        """
        return editing.edited(self, Inpaint, image, count, {"mask": mask, **options})

    @overload
    def outpaint(self, image: OneImage, *, count: None = None, **options: Any) -> MadeImage: ...
    @overload
    def outpaint(self, image: Images, *, count: int, **options: Any) -> list[MadeImage]: ...
    @overload
    def outpaint(self, image: Sequence[OneImage], *, count: None = None, **options: Any) -> list[MadeImage]: ...
    def outpaint(self, image: Images, *, count: int | None = None, **options: Any) -> MadeImage | list[MadeImage]:
        """The image on a larger canvas, whose new part is sampled.

        Args:
            image: of any size and mode, or several.
            count: the number of variants of each image; gives a list.
            options: `left`, `right`, `top`, `bottom` in pixels or as "25%"; or `aspect="16:9"`, or `size="512x512"`; or
                `mask`, of what is kept. Others, results and errors are those of `inpaint`; see `Outpaint`.
        """
        return editing.edited(self, Outpaint, image, count, options)

    @overload
    def edit(
        self, image: OneImage, label: Label = None, mask: Mask = None, *, count: None = None, **options: Any
    ) -> MadeImage: ...
    @overload
    def edit(
        self, image: Images, label: Label = None, mask: Mask = None, *, count: int, **options: Any
    ) -> list[MadeImage]: ...
    @overload
    def edit(
        self, image: Sequence[OneImage], label: Label = None, mask: Mask = None, *, count: None = None, **options: Any
    ) -> list[MadeImage]: ...
    def edit(
        self, image: Images, label: Label = None, mask: Mask = None, *, count: int | None = None, **options: Any
    ) -> MadeImage | list[MadeImage]:
        """The image with what is masked as another label; without a mask, with a share of all its tokens sampled anew.

        Args:
            image: of any size and mode, or several.
            label: what to paint: a class by name or number, or a text if the model reads those.
            mask: as in `inpaint`.
            count: the number of variants of each image; gives a list.
            options: `strength`, that share, from 0 to 1, without a mask; `from_label`, what it was. Others, results and
                errors are those of `inpaint`; see `Edit`.
        """
        given = {} if label is None else {"label": label}
        return editing.edited(self, Edit, image, count, {"mask": mask, **given, **options})

    @overload
    def enrich(self, image: OneImage, *, count: None = None, **options: Any) -> MadeImage: ...
    @overload
    def enrich(self, image: Images, *, count: int, **options: Any) -> list[MadeImage]: ...
    @overload
    def enrich(self, image: Sequence[OneImage], *, count: None = None, **options: Any) -> list[MadeImage]: ...
    def enrich(self, image: Images, *, count: int | None = None, **options: Any) -> MadeImage | list[MadeImage]:
        """The image with its detail sampled anew.

        Args:
            image: of any size and mode, or several.
            count: the number of variants of each image; gives a list.
            options: `scale`, how many times larger it gets; `strength`, the share of tokens that are sampled, `rate`,
                `passes` and so on. With `save_passes` the images of earlier passes come before each. Others, results
                and errors are those of `inpaint`; see `Enrich`.
        """
        return editing.edited(self, Enrich, image, count, options)

    @overload
    def mask(self, image: OneImage, **options: Any) -> MadeImage: ...
    @overload
    def mask(self, image: Sequence[OneImage], **options: Any) -> list[MadeImage]: ...
    def mask(self, image: Images, **options: Any) -> MadeImage | list[MadeImage]:
        """What an image shows of a label or of words, as a mask of its size, of mode L: white where it does.

        Args:
            image: of any size and mode, or several.
            options: `mask_class`, a label; `mask_text`, words for CLIPSeg; `mask_find`, a list of "name=words" for
                finders of plugins; `mask_grow`, `mask_box` and so on, as the command takes them; `progress`.

        Returns:
            One mask for one image, a list for several; black where nothing is found.

        Raises:
            UsageError: nothing says what to find. UnknownNameError: no such label or finder. ModelError: CLIPSeg
            without transformers, or a finder that does not work.
        """
        return editing.edited(self, MaskSearch, image, None, {**options, "seed": 0})

    def interpolate(
        self,
        stops: Sequence[Label | OneImage],
        *,
        batch_size: int | None = None,
        progress: ProgressOption = None,
        **options: Any,
    ) -> list[MadeImage]:
        """Frames of the model's size along the path from label to label, or from image to image.

        Args:
            stops: two or more labels, or as many images. A text that is the name of an image's file is an image.
            options: fields of `Interpolate`, such as `frames` and `loop`; settings of the sampler instead of the
                model's own; `seed`, of every frame, of which None takes a random one.

        Returns:
            RGB images of the model's size.

        Raises:
            UsageError: fewer than two stops, labels and images together, a setting out of range.
            UnknownNameError: a label that the model has not.
        """
        return editing.interpolated(self, stops, batch_size=batch_size, progress=progress, **options)

    def request(self, kind: type[Request], **options: Any) -> Request:
        """A request of this class, as the methods make it of their options; it can `paint`."""
        return editing.build(kind, self.config, options)

    @overload
    def embed(
        self,
        images: Images,
        layer: int | str | None = None,
        pool: str | None = None,
        label: Label = None,
        *,
        output: None = None,
        batch_size: int | None = None,
        progress: ProgressOption = None,
    ) -> NDArray[Any]: ...
    @overload
    def embed(
        self,
        images: Images,
        layer: int | str | None = None,
        pool: str | None = None,
        label: Label = None,
        *,
        output: str | PathLike[str],
        count: int | None = None,
        seed: int = 0,
        recursive: bool = False,
        overwrite: bool = False,
        batch_size: int | None = None,
        progress: ProgressOption = None,
    ) -> Embedded: ...
    def embed(
        self,
        images: Images,
        layer: int | str | None = None,
        pool: str | None = None,
        label: Label = None,
        *,
        output: str | PathLike[str] | None = None,
        batch_size: int | None = None,
        progress: ProgressOption = None,
        **files: Any,
    ) -> NDArray[Any] | Embedded:
        """The features of images, one row each; with `output`, in a file, as `bigr embed` writes it.

        Args:
            images: of any size and mode, of which the middle square is taken, scaled to the model's size; or a tensor
                (N, 3, S, S) in [0, 1] of that size. With `output`, what the command takes: files, folders, patterns,
                "scenes", one or a list of these.
            layer: the block whose output is taken, 0 is the first, several side by side ("4,6"), or "all", each by
                itself; None is the model's default or the middle.
            pool: "mean" over the tokens; "grid2", "grid3" or "grid4": means over 2 × 2 to 4 × 4 cells of their grid;
                all "tokens"; or the "codes", one bit a bit; None is the model's default, or the mean.
            label: under which the generator sees them; None is no label.
            output: .npz, .npy, .safetensors, .jsonl or .parquet. The first and the third are an index for `search`.
            files: with `output` only: `count` and `seed` of scenes, `recursive`, `overwrite`.

        Returns:
            For D numbers a token: (N, D) float32 for "mean", (N, 4 · D) for "grid2", (N, L, D) for "tokens", each with
            an axis for the layers after the first if `layer` is "all", or n times as wide for n layers side by side;
            (N, ⌈L·K / 8⌉) uint8 for "codes". With `output`, the paths and labels of the file's rows, and what could
            not be read.

        Raises:
            UsageError: no such layer or pool, no image; the file is there already. UnknownNameError: no such label.
            ImageError: a tensor of another size. TypeError: something that is no image.
        """
        from bigr_cli.representation import from_python
        from bigr_cli.representation.features import wanted_features

        wanted = wanted_features(self.config, layer=layer, pool=pool, label=label)
        if output is not None:
            return from_python.embedded_to(
                self, wanted, images, output, batch_size=batch_size, progress=progress, **files
            )
        if files:
            raise TypeError(f"embed: {', '.join(files)} is for files, with output")
        return from_python.embedded(self, wanted, images, batch_size, progress)

    def search(self, query: OneImage, index: str | PathLike[str] | Index, *, count: int = 10) -> list[Found]:
        """The images of an index that are most like an image, the nearest first.

        Args:
            query: of any size and mode.
            index: what `embed(…, output="photos.npz")` or `bigr embed` wrote, by its name or read already
                (`read_index`).
            count: how many.

        Returns:
            Each with its `rank`, `path` and `label`, and the `similarity`, the cosine of features less their mean, at
            most 1; for codes the `distance`, the number of bits that differ.

        Raises:
            UsageError: no such file. ModelFormatError: it is no index. ModelError: another model made it.
        """
        from bigr_cli.representation import from_python

        return from_python.searched(self, query, index, count)

    def classify(
        self, images: Images, probe: str | PathLike[str] | Probe, *, batch_size: int | None = None
    ) -> list[Classified]:
        """The likeliest label of each image, by a classifier that `probe` has trained.

        Args:
            images: of any size and mode.
            probe: what `probe(…, save="probe.safetensors")` or `bigr evaluate probe --save` wrote, or a `Probe`.

        Returns:
            For each image its `path` ("" if it comes from no file), `label` and `probability`, from 0 to 1.

        Raises:
            UsageError: no such file. ModelFormatError: it is no probe. ModelError: another model's features trained it.
        """
        from bigr_cli.representation import from_python

        return from_python.classified_images(self, images, probe, batch_size)

    def probe(
        self,
        data: str | PathLike[str],
        test: str | PathLike[str] | None = None,
        *,
        count: int | None = None,
        test_count: int | None = None,
        seed: int = 0,
        layer: int | str | None = None,
        pool: str | None = None,
        save: str | PathLike[str] | None = None,
        overwrite: bool = False,
        batch_size: int | None = None,
        progress: ProgressOption = None,
    ) -> Probed:
        """How well a linear classifier tells classes by each layer's features, as `bigr evaluate probe` measures it.

        Args:
            data: a folder with a subfolder a class, or "scenes", to train on.
            test: another one to test on; None keeps a part of `data` apart.
            count: how many images to train on, of which None is all of a folder, or 2000 scenes; `test_count` likewise.
            seed: which images are taken, where not all are.
            layer: a block, several side by side ("4,6"), or "all", each by itself; None is all, with attention the
                model's default.
            pool: how tokens are pooled: "mean", "grid2", "grid3", "grid4" and None as in `embed`, or "attention", where
                a query for each class, trained too, says which tokens count.
            save: a .safetensors file for the best layer's classifier.

        Returns:
            A row for each kind of features, the best of them, and its `classifier(model)` for `classify`.

        Raises:
            UsageError: no images, one class only, too few images of a class; `save` is there already.
            ImageError: an image cannot be read.
        """
        from bigr_cli.representation import from_python

        return from_python.probed(
            self,
            data,
            test,
            count=count,
            test_count=test_count,
            seed=seed,
            layer=layer,
            pool=pool,
            save=save,
            overwrite=overwrite,
            batch_size=batch_size,
            progress=progress,
        )

    def evaluate_generation(self, reference: str | PathLike[str] | None = None, **options: Any) -> dict[str, Any]:
        """How much generated images look like real ones, as `bigr evaluate generation` measures it.

        Args:
            reference: real images: a folder, "scenes", or a file of statistics, features or images.
            options: `count`, how many to sample (10,000), and `seed`, of the first; `images`, a folder of generated
                images instead; `metrics`, such as "fid,kid"; `features`, `weights`, `fetch_weights`, which network
                looks at them; `reference_count`, `resize`; `npz` and `statistics`, files to write, and `overwrite`;
                `batch_size`, `progress`; settings of the sampler.

        Returns:
            The figures by torch-fidelity's names, such as "frechet_inception_distance", with everything that they
            depend on: the record of the command's --json.

        Raises:
            UsageError: nothing to compare with, too few images, or metrics that cannot be computed.
        """
        from bigr_cli.evaluation import from_python

        return from_python.generation(self, reference, **with_own_names(SamplingConfig, options))

    def evaluate_reconstruction(self, data: str | PathLike[str] = "scenes", **options: Any) -> dict[str, Any]:
        """How well the tokenizer reconstructs images, as `bigr evaluate reconstruction` measures it.

        Args:
            data: a folder, or "scenes".
            options: `count`, how many images (all of a folder, or 5000 scenes); `refine`, steps of latent optimisation;
                `features`, `weights`, `fetch_weights`, what rFID is measured with; `batch_size`, `progress`.

        Returns:
            PSNR in decibels, SSIM, LPIPS where its weights are here, rFID, and the use of the bits, with everything
            that they depend on: the record of the command's --json.

        Raises:
            UsageError: no images, too few. ImageError: one cannot be read.
        """
        from bigr_cli.evaluation import from_python

        return from_python.reconstruction(self, data, **with_own_names(SamplingConfig, options))

    def encode(self, images: Images, *, refine: int = 0) -> Tensor:
        """The codes of images of the model's size.

        Args:
            images: of S × S pixels, S being `config.image_size`, in every form; or a tensor (B, 3, S, S) of floats in
                [0, 1], which is taken as it is.
            refine: steps of latent optimisation, which find codes that reconstruct the images better.

        Returns:
            (B, L, K) bool: L tokens, row by row, of K bits. One image is a batch of one.

        Raises:
            ImageError: another size. TypeError: something that is no image.
        """
        whole = isinstance(images, torch.Tensor) and images.ndim == 4
        given: Any = images if whole else [one.image for one in originals(images, self.config.ground)]
        return encode_images(self.network, given, refine=refine, background=self.config.ground)

    @overload
    def reconstruct(  # type: ignore[overload-overlap]  # a str is a sequence of str, too
        self, images: OneImage, *, refine: int | None = None
    ) -> Image: ...
    @overload
    def reconstruct(self, images: Sequence[OneImage], *, refine: int | None = None) -> list[Image]: ...
    def reconstruct(self, images: Images, *, refine: int | None = None) -> Image | list[Image]:
        """Images as the tokenizer gives them back: encoded, and decoded again.

        Args:
            images: of any size, of which the middle square is taken, scaled to the model's size.
            refine: steps of latent optimisation; None is what the model's config says.

        Returns:
            RGB images of the model's size: one for one, a list for several.

        Raises:
            ImageError: a file that cannot be read. TypeError: something that is no image.
        """
        squares = [one.square(self.config.image_size) for one in originals(images, self.config.ground)]
        size, steps = self.coding_batch_size(), self.config.refine if refine is None else refine
        made = [
            image
            for start in range(0, len(squares), size)
            for image in self.decode(self.encode(squares[start : start + size], refine=steps))
        ]
        return made[0] if is_one_image(images) else made
