"""mAP of a labelled split while a model trains."""

import numpy as np

from reid.actions import group_actions
from reid.embedding import embed_batches
from reid.metrics import precision_of_actions
from reid.pairwise import pairwise
from reid.tables import column


class Watcher:
    """Scores a network on valid: plain embeddings and distances, without what may follow them.

    Args:
        table: index of the split.
        store: its thumbnails, uint8 N x H x W x 3.
        metric: ``"euclidean"`` or ``"cosine"``.
        batch: pictures at a time.
    """

    def __init__(self, table, store, metric, batch=256):
        self.store, self.metric, self.batch = store, metric, batch
        self.actions = group_actions(table)
        self.precision = precision_of_actions(self.actions, column(table, "person_uid"))

    def score(self, network, dtype):
        """mAP of ``network`` (reid.networks.Embedder), which computes in ``dtype``; it is left in evaluation mode."""
        parts = list(embed_batches(network.eval(), self.store, self.batch, dtype))
        embeddings = np.concatenate(parts).astype(np.float64)
        if not np.isfinite(embeddings).all():
            return 0.0
        distances = [pairwise(embeddings[a.query], embeddings[a.gallery], self.metric) for a in self.actions]
        # an embedding of zeros has no cosine: such boxes come last
        return float(self.precision([np.nan_to_num(matrix, nan=np.inf) for matrix in distances]).mean())
