"""The demonstration learns: a fresh clone's parameters, from synthetic matches to the scores of valid and test.

Its images have half the size here, and it trains for eight of its ten epochs: a fifth of the work.
"""

import numpy as np
import pytest

from builders import ROOT
from reid.core.splits import SCORED
from reid.core.tables import column
from reid.data.actions import group_actions
from reid.data.index import build_index
from reid.data.thumbnails import build_store, open_store
from reid.models.embedding import embed
from reid.params import read_params
from reid.ranking.distances import action_distances
from reid.retrieval.metrics import score
from reid.retrieval.order import Pairs, rank
from reid.synthetic.dataset import make_split
from reid.training.dataset import Images, select_identities
from reid.training.train import train

HEIGHT, WIDTH, EPOCHS = 32, 16, 8
# one thread, for the other core has other tests; bf16 is not for maps as small as these
ALONE = {"threads": 1, "precision": "fp32"}


@pytest.mark.slow
def test_training_doubles_chance_and_beats_the_untrained_network(tmp_path):
    params = read_params(ROOT / "recipes/demo.yaml")
    (name, model), *_ = params.models.items()
    size = model.input.model_copy(update={"height": HEIGHT, "width": WIDTH})
    model = model.model_copy(update={**ALONE, "input": size})
    thumbnails = params.thumbnails.model_copy(update={"height": HEIGHT, "width": WIDTH})
    embedding, synthetic = params.embed.model_copy(update=ALONE), params.download.synthetic
    tables, stores = {}, {}
    for split in ("train", *SCORED):
        zip_path = tmp_path / f"{split}.zip"
        make_split(zip_path, split, getattr(synthetic.actions, split), synthetic.seed, progress=False)
        tables[split], _ = build_index(zip_path, split)
        path = tmp_path / f"{split}.npy"
        build_store(zip_path, tables[split], path, thumbnails, 1, progress=False)
        stores[split] = open_store(path)

    def scored_on(split, network):
        person, actions = column(tables[split], "person_uid"), group_actions(tables[split])
        embeddings = embed(network, stores[split], embedding, progress=False)
        parts = [
            (np.repeat(a.query, len(a.gallery)), np.tile(a.gallery, len(a.query)), d.ravel())
            for a, d in zip(actions, action_distances([embeddings], actions, params.distances), strict=True)
        ]
        query, gallery, distance = map(np.concatenate, zip(*parts, strict=True))
        ranked = rank(Pairs(query, gallery, np.zeros_like(query), distance))
        return score(person[ranked.query] == person[ranked.gallery], ranked.start)

    def learned(epochs):
        changed = model.model_copy(update={"epochs": epochs})
        identities = select_identities([tables["train"]], changed.subset)
        network = train(identities, Images([stores["train"]]), changed, progress=False).selected
        return [scored_on(split, network) for split in SCORED]

    untrained, trained = learned(0), learned(EPOCHS)
    for after in trained:
        assert after["mAP"] >= 2 * after["chance"]["mAP"], name
    for measure in ("mAP", "rank-1"):  # either split alone has too few queries to tell on every processor
        assert np.mean([s[measure] for s in trained]) > np.mean([s[measure] for s in untrained]) + 0.1, measure
