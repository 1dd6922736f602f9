"""mAP of a labelled split while a model trains."""

import numpy as np
import torch
from scipy.spatial.distance import cdist

from reid import compute
from reid.actions import group_actions
from reid.index import column
from reid.metrics import Pairs, average_precision, rank


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
        self.person = column(table, "person_uid")

    def score(self, network, dtype):
        """mAP of ``network`` (reid.networks.Embedder), which computes in ``dtype``; it is left in evaluation mode."""
        where = network.mean.device
        network.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(self.store), self.batch):
                pictures = torch.from_numpy(np.array(self.store[start : start + self.batch])).to(where)
                with compute.autocast(dtype, where):
                    parts.append(network(network.prepare(pictures)).float().cpu().numpy())
        embeddings = np.concatenate(parts).astype(np.float64)
        if not np.isfinite(embeddings).all():
            return 0.0
        query = np.concatenate([np.repeat(a.query, len(a.gallery)) for a in self.actions])
        gallery = np.concatenate([np.tile(a.gallery, len(a.query)) for a in self.actions])
        distance = np.concatenate(
            [cdist(embeddings[a.query], embeddings[a.gallery], self.metric).ravel() for a in self.actions]
        )
        # rows stand for boxes here: they ascend with bbox_idx inside a role
        ranked = rank(Pairs(query, gallery, query, np.nan_to_num(distance, nan=np.inf)))
        match = self.person[ranked.query] == self.person[ranked.gallery]
        return float(np.mean(average_precision(match, ranked.start)))
