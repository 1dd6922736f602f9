"""Batches of images on their way to the network, one ahead of the step that trains on them."""

import concurrent.futures
import contextlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from reid.training.augmentation import Augment
from reid.training.dataset import Images
from reid.training.image_changes import moved


class Order(NamedTuple):
    """What a batch is made of: rows of the images (int64, B), and the share of the training that is done by then."""

    rows: np.ndarray
    progress: float


class Ready(NamedTuple):
    """A batch on the network's device.

    ``x``: normalised images, float32, B x 3 x height x width; ``labels``: int64, 3 x B. On a GPU both are there once
    ``event`` has happened.
    """

    x: torch.Tensor
    labels: torch.Tensor
    event: torch.cuda.Event | None


class Lane:
    """Where batches are copied and changed while the network works: a stream of the GPU. On a CPU there is none.

    Args:
        device: the network's.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __enter__(self) -> "Lane":
        self.context: Any = torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext()
        self.context.__enter__()
        return self

    def __exit__(self, *problem: Any) -> None:
        self.context.__exit__(*problem)

    def load(self, array: np.ndarray) -> torch.Tensor:
        """An array on the device, without waiting for the copy."""
        return moved(torch.from_numpy(array), self.device)

    def ready(self, x: torch.Tensor, labels: torch.Tensor) -> Ready:
        """What was made in the lane up to here."""
        return Ready(x, labels, self.stream.record_event() if self.stream else None)

    def hand_over(self, batch: Ready) -> tuple[torch.Tensor, torch.Tensor]:
        """Let what the network does from here on come after the batch's making, without waiting for it here."""
        if batch.event:
            now = torch.cuda.current_stream(self.device)
            now.wait_event(batch.event)
            batch.x.record_stream(now)  # or the lane would take their memory again while the network reads it
            batch.labels.record_stream(now)
        return batch.x, batch.labels


class Feed:
    """Gives batches one after the other, and makes the next one ready meanwhile.

    A thread reads the next batch while the network works. On a GPU the thread changes it too, in a :class:`Lane`; on
    a CPU the network needs the cores itself, and a batch is changed when it is its turn. The random numbers are the
    same either way, and :meth:`state` never counts those of a batch that was not given yet.

    Args:
        images: the stores.
        labels: int64, 3 x N: identity, action and game of each of their rows.
        augment: changes a batch.
        normalise: of the network, what comes after.
        generator: of the augmentation, on the CPU.
        multiple: batches are filled up to a multiple of this with images of their own.
        device: the network's.
        whole: whether the thread changes batches too; by default on a GPU.

    Attributes:
        waiting: seconds that were spent waiting for images.
    """

    def __init__(
        self,
        images: Images,
        labels: np.ndarray,
        augment: Augment,
        normalise: Callable[[torch.Tensor], torch.Tensor],
        generator: torch.Generator,
        multiple: int,
        device: torch.device,
        whole: bool | None = None,
    ) -> None:
        self.images, self.labels, self.augment, self.normalise = images, labels, augment, normalise
        self.generator, self.multiple = generator, multiple
        self.whole = device.type == "cuda" if whole is None else whole
        self.lane = Lane(device)
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.coming: tuple[Order, bytes, concurrent.futures.Future[Any]] | None = None
        self.waiting = 0.0

    def get(self, order: Order, following: Order | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of ``order``; begins on the one ``following``, if there will be one.

        Returns:
            normalised images, float32, B' x 3 x height x width, and labels, int64, 3 x B. B' is B filled up to a
            multiple of ``multiple``.
        """
        started = time.perf_counter()
        if self.coming is None:
            self._begin(order)
        assert self.coming is not None and self.coming[0].rows is order.rows
        result = self.coming[2].result()
        self.coming = None
        if self.whole and following:
            self._begin(following)  # after this batch has drawn its numbers
        self.waiting += time.perf_counter() - started
        if not self.whole:
            if following:
                self._begin(following)
            result = self._change(order, result)
        return self.lane.hand_over(result)

    def _begin(self, order: Order) -> None:
        work = self._make if self.whole else self._read
        before = self.generator.get_state().numpy().tobytes() if self.whole else b""
        self.coming = order, before, self.thread.submit(work, order)

    def _read(self, order: Order) -> np.ndarray:
        return self.images[order.rows]

    def _change(self, order: Order, images: np.ndarray) -> Ready:
        with self.lane as lane, torch.no_grad():
            x = self.normalise(self.augment(lane.load(images), self.generator, order.progress))
            if more := -len(x) % self.multiple:
                copies = 1 + -(-more // len(x))
                x = torch.cat([x] * copies)[: len(x) + more].contiguous(memory_format=torch.channels_last)
            return lane.ready(x, lane.load(self.labels[:, order.rows]))

    def _make(self, order: Order) -> Ready:
        return self._change(order, self._read(order))

    def state(self) -> torch.Tensor:
        """The generator's state (uint8) as it was before any batch that has not been given yet."""
        if self.coming and self.whole:
            return torch.frombuffer(bytearray(self.coming[1]), dtype=torch.uint8)
        return self.generator.get_state()

    def restart(self, state: torch.Tensor | None = None) -> None:
        """Forget the batch that is coming; draw on from ``state``, or from where the last given batch left off."""
        state = self.state() if state is None else state
        if self.coming:
            concurrent.futures.wait([self.coming[2]])
            self.coming = None
        self.generator.set_state(state)
