"""Training losses over a batch of embeddings: weighted sums of parts by name."""

from pytorch_metric_learning import distances, losses, miners, reducers
from torch import nn


class BatchLoss(nn.Module):
    """The weighted sum of the parts that a model's parameters name.

    - ``triplet``: for each anchor its farthest positive and nearest negative in the batch, Euclidean, not normalised,
      mean over all anchors (Hermans et al. 2017, as in the dev kit's TripletLoss).
    - ``softmax``: label-smoothed cross entropy over all training ids (Szegedy et al. 2016, the dev kit's
      CrossEntropyLoss).

    Args:
        params: reid.params.Loss
        width: components of an embedding.
        people: number of ids in the training set.
    """

    def __init__(self, params, width, people):
        super().__init__()
        self.params = params
        if params.triplet:
            distance = distances.LpDistance(normalize_embeddings=False)
            self.miner = miners.BatchHardMiner(distance=distance)
            self.triplet = losses.TripletMarginLoss(
                params.triplet.margin, distance=distance, reducer=reducers.MeanReducer()
            )
        if params.softmax:
            self.classifier = nn.Linear(width, people)
            nn.init.normal_(self.classifier.weight, 0, 0.01)  # as the kit does
            nn.init.zeros_(self.classifier.bias)
            self.softmax = nn.CrossEntropyLoss(label_smoothing=params.softmax.label_smoothing)

    def forward(self, embeddings, person):
        """Loss of one batch.

        Args:
            embeddings: float32, B x D.
            person: int64, B; ids from 0.

        Returns:
            dict: ``{"loss": scalar tensor, "triplet": ..., "softmax": ...}``, parts without their weights
        """
        parts, total = {}, 0
        if self.params.triplet:
            parts["triplet"] = self.triplet(embeddings, person, self.miner(embeddings, person))
            total = total + self.params.triplet.weight * parts["triplet"]
        if self.params.softmax:
            parts["softmax"] = self.softmax(self.classifier(embeddings), person)
            total = total + self.params.softmax.weight * parts["softmax"]
        return {"loss": total, **parts}
