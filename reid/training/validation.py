"""mAP of a labelled split while a model trains."""

from typing import Any

import numpy as np
import torch

from reid.core.tables import column
from reid.data.actions import group_actions
from reid.models.embedder import Embedder
from reid.models.embedding import embed_batches
from reid.retrieval.metrics import ap_of_actions
from reid.retrieval.pairwise import pairwise


class Validator:
    """Scores a network on valid: plain embeddings and distances, without any post-processing.

    Args:
        table: index of the split (pyarrow.Table).
        store: its thumbnails, uint8 N x H x W x 3.
        metric: ``"euclidean"`` or ``"cosine"``.
        batch_size: images at a time.
    """

    def __init__(self, table: Any, store: np.ndarray, metric: str, batch_size: int = 256) -> None:
        self.store, self.metric, self.batch_size = store, metric, batch_size
        self.actions = group_actions(table)
        self.ap = ap_of_actions(self.actions, column(table, "person_uid"))

    def score(self, network: Embedder, dtype: torch.dtype) -> float:
        """mAP of a network, which computes in ``dtype``; it is left in evaluation mode."""
        embeddings = np.concatenate(list(embed_batches(network.eval(), self.store, self.batch_size, dtype)))
        if not np.isfinite(embeddings).all():
            return 0.0
        distances = [pairwise(embeddings[a.query], embeddings[a.gallery], self.metric) for a in self.actions]
        # an embedding of zeros has no cosine: such boxes come last
        return float(self.ap([np.nan_to_num(matrix, nan=np.inf) for matrix in distances]).mean())
