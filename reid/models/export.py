"""A trained model for programs without this pipeline: ONNX, and PyTorch's exported programs (``.pt2``).

Normalising (and resizing, where images have another size than the network's input) is a part of what is exported: it
takes uint8 images and gives embeddings. What is written is loaded again and compared with PyTorch first.
"""

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import nn

from reid.core.errors import ReidError
from reid.core.files import replacing, sha256
from reid.models.checkpoint import load
from reid.models.embedder import Embedder
from reid.models.embedding import embeddings_of

TOLERANCE = 1e-4
_EXTRA = ("onnx", "onnxscript", "onnxruntime")
_INSTALL = "pip install --require-hashes -r envs/export.txt"
_LARGEST = 2_000_000_000  # bytes of an ONNX file, by protobuf

Function = Callable[[np.ndarray], np.ndarray]


class Exportable(nn.Module):
    """What is exported: images to embeddings.

    Args:
        network: in evaluation mode, on the CPU.
        flip_test: the mean of the embeddings of an image and of its mirror image, each of length 1.
    """

    def __init__(self, network: Embedder, flip_test: bool = False) -> None:
        super().__init__()
        self.network, self.flip_test = network, flip_test

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8, B x H x W x 3 (RGB), to float32, B x D."""
        return embeddings_of(self.network, images, self.flip_test)


class Export:
    """A checkpoint made ready for export, and images to compare on.

    Args:
        checkpoint: the file.
        images: uint8 N x H x W x 3, of the size that the exported model is to take; None for noise of the size of the
            network's input.
        flip_test: as for :class:`Exportable`.

    Raises:
        ReidError: it is no checkpoint.
    """

    def __init__(self, checkpoint: Path | str, images: np.ndarray | None = None, flip_test: bool = False) -> None:
        network = load(checkpoint)
        if images is None:
            images = np.random.default_rng(0).integers(0, 256, (16, *network.size, 3), np.uint8)
        self.images, self.checkpoint = images, checkpoint
        self.model = Exportable(network, flip_test).eval()
        with safetensors.safe_open(checkpoint, framework="numpy") as file:
            model = file.metadata()["model"]
        height, width = images.shape[1:3]
        self.about = {
            "checkpoint": sha256(checkpoint),
            "model": model,
            "input": f"images: uint8, batch x {height} x {width} x 3, RGB. Resize to this size before, as the section "
            "thumbnails of params.yaml says; normalising is inside",
            "output": f"embeddings: float32, batch x {network.width}. Compare them as distances.metric says",
            "flip_test": str(flip_test).lower(),
        }

    def expected(self, images: np.ndarray) -> np.ndarray:
        """What PyTorch gives: float32, B x D."""
        with torch.inference_mode():
            return self.model(torch.from_numpy(images)).numpy()

    def compare(self, function: Function, path: Path | str) -> float:
        """Largest difference of a component between PyTorch and what was written, in batches of all images and of one.

        Where components are larger than 1, it is relative to the largest.

        Raises:
            ReidError: it is above :data:`TOLERANCE`.
        """
        largest = 0.0
        for images in (self.images, self.images[:1]):
            expected, found = self.expected(images), function(images)
            difference = float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max()))
            if not difference <= TOLERANCE:  # NaN is not
                raise ReidError(
                    f"{path}: differs from PyTorch by {difference:.1e}, and {TOLERANCE:.0e} is the most; nothing is "
                    "written. Was it trained to finite weights?"
                )
            largest = max(largest, difference)
        return largest

    def program(self) -> torch.export.ExportedProgram:
        """The model as PyTorch's exported program, for batches of any size.

        Raises:
            ReidError: its code cannot be exported, as may be with a backbone of one's own.
        """
        example = torch.from_numpy(self.images[:1]).expand(2, -1, -1, -1).contiguous()  # 1 would count as fixed
        try:
            with _quiet():
                program = torch.export.export(
                    self.model, (example,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}
                )
        except Exception as error:  # of PyTorch's compiler, or of an extension
            reason = str(error).strip().split("\n")[0]
            raise ReidError(f"{self.checkpoint}: its network cannot be exported ({reason})") from error
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # paths of this machine
        return program

    def pt2(self, path: Path | str) -> float:
        """Write a program for ``torch.export.load``; returns the largest difference.

        What is said of it lies in the extra file ``reid.json``.

        Raises:
            ReidError: it cannot be exported, or differs from PyTorch.
        """
        program = self.program()
        with replacing(path) as partial, open(partial, "wb+") as file:
            torch.export.save(program, file, extra_files={"reid.json": json.dumps(self.about)})
            file.seek(0)
            loaded = torch.export.load(file).module()

            def function(images: np.ndarray) -> np.ndarray:
                with torch.no_grad():
                    result: np.ndarray = loaded(torch.from_numpy(images)).numpy()
                return result

            return self.compare(function, path)

    def onnx(self, path: Path | str) -> float:
        """Write a model for ONNX runtimes; returns the largest difference, as onnxruntime computes.

        What is said of it stands in its metadata.

        Raises:
            ReidError: the extra requirements are missing, it cannot be exported or is too large for one file, or
                differs from PyTorch.
        """
        require_extra()
        if (size := 4 * sum(p.numel() for p in self.model.parameters())) > _LARGEST:
            raise ReidError(f"{path}: would have {size:,} bytes, and an ONNX file has 2 GB at most; use --pt2")
        import onnxruntime

        program = self.program()
        try:
            with _quiet():
                made: Any = torch.onnx.export(
                    program, input_names=["images"], output_names=["embeddings"], dynamo=True, verbose=False
                )
        except Exception as error:  # of the exporter, for what ONNX has no operation for
            reason = str(error).strip().split("\n")[0]
            raise ReidError(f"{self.checkpoint}: cannot be written as ONNX ({reason}); use --pt2") from error
        _describe(made.model, self.about)
        with replacing(path) as partial:
            made.save(partial)
            session = onnxruntime.InferenceSession(partial, providers=["CPUExecutionProvider"])
            return self.compare(lambda images: session.run(None, {"images": images})[0], path)


def require_extra() -> None:
    """Raise a ReidError that says how to install what ONNX needs, unless it is there."""
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ReidError(f"ONNX needs {', '.join(missing)}, which is not installed; install it: {_INSTALL}")


def _describe(model: Any, about: dict[str, str]) -> None:
    """Put metadata into a model (onnx_ir.Model), name its batch, and take out what names this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
    model.metadata_props.update(about)
    import onnx_ir

    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape = onnx_ir.Shape(["batch", *list(value.shape)[1:]])


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch's exporters say much that no user can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
