"""Embeddings of earlier batches, as further positives and negatives of the anchors of a batch."""

import torch
from torch import nn


class Memory(nn.Module):
    """A cross-batch memory (XBM, Wang et al. 2020): the newest embeddings, as they were, with their labels.

    Its buffers are part of the training's state.

    Args:
        size: how many embeddings it holds.
        start: batches before it is shown; until then it fills.
        width: components of an embedding.
    """

    embeddings: torch.Tensor
    labels: torch.Tensor
    batches: torch.Tensor
    images: torch.Tensor

    def __init__(self, size: int, start: int, width: int) -> None:
        super().__init__()
        self.size, self.start = size, start
        self.register_buffer("embeddings", torch.zeros(size, width))
        self.register_buffer("labels", torch.full((3, size), -1))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))

    def beside(self, embeddings: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch with what is remembered after it.

        Args:
            embeddings: float, B x D.
            labels: int64, 3 x B.

        Returns:
            float, (B + size) x D, and int64, 3 x (B + size), -1 for places that are empty or not shown yet
        """
        shown = torch.where(self.batches >= self.start, self.labels, -1)
        return torch.cat([embeddings, self.embeddings.to(embeddings.dtype)]), torch.cat([labels, shown], 1)

    def add(self, embeddings: torch.Tensor, labels: torch.Tensor) -> None:
        """Remember a batch, in the places of the oldest embeddings."""
        embeddings, labels = embeddings[-self.size :].detach(), labels[:, -self.size :]
        place = (self.images + torch.arange(len(embeddings), device=labels.device)) % self.size
        self.embeddings.index_copy_(0, place, embeddings.to(self.embeddings.dtype))
        self.labels.index_copy_(1, place, labels)
        self.images += len(embeddings)
        self.batches += 1
