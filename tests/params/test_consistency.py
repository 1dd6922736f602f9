"""What does not go together in a parameter file is refused with its place: a test for each such rule."""

import pytest

from builders.whole import FULL, MINIMAL, at, changed, fails, load, without
from reid.params import POSTPROCESSING, PostprocessingStep, check_params


@pytest.fixture
def content():
    """A file that uses every key, under fixed names of models."""
    return load(FULL)


@pytest.fixture
def minimal():
    """A file with nothing that may be left out."""
    return load(MINIMAL)


def test_local_source_needs_a_folder(content):
    content["download"] = {"source": "local"}
    fails(content, "download.path: must name a folder when download.source is local", problems=1)
    content["download"]["path"] = "somewhere"
    check_params(content)


def test_synthetic_source_needs_its_section(content):
    fails(without(content, "download.synthetic"), "download.synthetic: is missing", problems=1)
    check_params(changed(content, "download.source", "soccernet"))


@pytest.mark.parametrize("ranks", [[5], [10, 5, 20]])
def test_rank_one_must_be_measured(content, ranks):
    fails(changed(content, "evaluate.ranks", ranks), "evaluate.ranks: must hold 1, the official measure", problems=1)


@pytest.mark.parametrize("splits", [["valid"], ["train", "train"], ["valid", "test"]])
def test_training_splits_hold_train_and_each_once(content, splits):
    fails(changed(content, "train.splits", splits), "train.splits: must hold train, and each split once", problems=1)


@pytest.mark.parametrize("absent", [True, False])
def test_there_is_a_model(minimal, absent):
    content = without(minimal, "models") if absent else changed(minimal, "models", {})
    fails(content, "models: there is none; name one here or in external_models", problems=1)


def test_a_name_is_that_of_one_model(content):
    content["external_models"] = {"two": {"folder": "somewhere"}}
    del content["distances"]["models"]
    fails(content, "external_models.two: models has a two too; use another name", problems=1)


def test_unknown_models_are_named_in_order(content):
    changed(content, "distances.models", {"z": 1, "one": 1, "b": 1})
    message = fails(content, "distances.models: there is no model z; there are one, two, elsewhere", problems=2)
    assert message.index("no model b") < message.index("no model z")


def test_reranking_averages_over_no_more_than_its_neighbours(content):
    place = "distances.postprocessing.reranking.k2"
    check_params(changed(content, place, 3))
    fails(changed(content, place, 4), f"{place}: must not be larger", problems=1)


def test_boxes_are_assigned_to_queries_once(content):
    content["distances"]["postprocessing"]["dual_softmax"] = {"temperature": 0.1}
    fails(content, "distances.postprocessing.sinkhorn: cannot go with dual_softmax", problems=1)
    check_params(without(content, "distances.postprocessing.sinkhorn"))


def test_distances_between_all_boxes_are_changed_once(content):
    """There is one such step; an extension may bring another."""

    class Other(PostprocessingStep):
        """Another re-ranking."""

        stage = "boxes"

    before = POSTPROCESSING.snapshot()
    try:
        POSTPROCESSING.declare("other")(Other)
        content["distances"]["postprocessing"]["other"] = {}
        fails(content, "distances.postprocessing.other: cannot follow reranking", problems=1)
        check_params(without(content, "distances.postprocessing.reranking"))
    finally:
        POSTPROCESSING.restore(before)


# Changes of the second model, in which every part is on (... takes a part out), and what is said of them.
CONTRADICTIONS = {
    "no loss": ({"loss": {"negatives": "batch"}}, "loss: none is named; one must be given of supcon, ntxent, "),
    "one image of an identity": (
        {"sampler": {"kind": "identity", "identities": 4, "instances": 1}},
        "sampler.instances: must be 2 or more for loss.supcon",
    ),
    "team mates in no batch": (
        {"sampler": {"kind": "identity", "identities": 4, "instances": 2}, "loss.negatives": "action"},
        "loss.negatives: action needs sampler.kind actions",
    ),
    "team mates in a batch of anybody": (
        {"sampler": {"kind": "random", "images": 8}, "loss.negatives": "action"},
        "loss.negatives: action needs sampler.kind actions",
    ),
    "all images of an identity as a pair": (
        {"loss.info_nce": {"temperature": 0.1}, "sampler.instances": ...},
        "loss.info_nce: needs a sampler with instances of 2",
    ),
    "a pair in a batch of anybody": (
        {"loss.info_nce": {"temperature": 0.1}, "sampler": {"kind": "random", "images": 8}},
        "loss.info_nce: needs a sampler with instances of 2",
    ),
    "temperature below those that are learned": (
        {"loss.supcon": {"temperature": 0.009, "learn_temperature": True}},
        "loss.supcon.temperature: must be 0.01 or more with learn_temperature",
    ),
    "margins the wrong way round": (
        {"loss.contrastive": {"margin": 0.2, "positive_margin": 0.2}},
        "loss.contrastive.positive_margin: must be less than margin",
    ),
    "memory without pairs": (
        {"loss": {"id": {}, "arcface": {"scale": 30, "margin": 0.5}, "memory": {"size": 100}}},
        "loss.memory: needs a loss over pairs",
    ),
    "memory of means": (
        {"loss.memory": {"size": 100}},
        "loss.memory: cannot go with loss.centroid",
    ),
    "memory of pairs": (
        {"loss": {"info_nce": {"temperature": 0.1}, "memory": {"size": 100}}},
        "loss.memory: cannot go with loss.info_nce",
    ),
    "memory of other actions": (
        {"loss": {"negatives": "action", "supcon": {"temperature": 0.1}, "memory": {"size": 100}}},
        "loss.memory: cannot go with loss.negatives action",
    ),
    "neighbours of one action": (
        {"sampler.actions": 1, "sampler.neighbours": "game", "loss.negatives": "action"},
        "sampler.neighbours: game needs sampler.actions of 2 or more",
    ),
    "other games in one action": (
        {"sampler.actions": 1, "loss.negatives": "action+games"},
        "loss.negatives: action+games needs sampler.actions of 2 or more",
    ),
    "no such backbone": (
        {"network.backbone": "resnet19"},
        "network.backbone: neither torchvision nor timm",
    ),
    "frozen from scratch": (
        {"network.weights": ..., "soup": ...},
        "optimizer.frozen_epochs: must be 0 without network.weights",
    ),
    "soup from scratch": (
        {"network.weights": ..., "optimizer.frozen_epochs": ...},
        "soup: must be left out without network.weights",
    ),
    "always frozen": ({"optimizer.frozen_epochs": 4}, "optimizer.frozen_epochs: must be less than epochs"),
    "seed of the soup": ({"seed": 3}, "soup: must hold each seed once"),
    "seed twice in the soup": ({"soup": [2, 2]}, "soup: must hold each seed once"),
    "patch": (
        {"augmentation.random_patch": {"probability": 0.5, "smallest": 0.3, "largest": 0.2}},
        "augmentation.random_patch.smallest: must not be more than largest",
    ),
    "grey patch": (
        {"augmentation.random_grey_patch": {"probability": 0.5, "smallest": 0.3, "largest": 0.2}},
        "augmentation.random_grey_patch.smallest: must not be more than largest",
    ),
    "erasing": (
        {"augmentation.random_erasing": {"probability": 0.5, "smallest": 0.3, "largest": 0.2}},
        "augmentation.random_erasing.smallest: must not be more than largest",
    ),
    "places of one size": (
        {"network.pooling": "token"},
        "augmentation.progressive_resizing: cannot go with network.pooling token",
    ),
    "milestones": (
        {"schedule": {"kind": "step", "milestones": [3, 2], "gamma": 0.1}},
        "schedule.milestones: must be in ascending order",
    ),
    "milestone twice": (
        {"schedule": {"kind": "step", "milestones": [2, 2], "gamma": 0.1}},
        "schedule.milestones: must be in ascending order, each once",
    ),
    "rate that never falls": (
        {"schedule": {"kind": "cosine", "warmup": 0.2, "hold": 0.8}},
        "schedule.hold: must be less than 1 together with warmup",
    ),
    "average of more epochs": (
        {"averaging": {"kind": "epochs", "last": 5}, "max_images": ..., "validation": ...},
        "averaging.last: must not be more than epochs",
    ),
    "average of unknown epochs": (
        {"averaging": {"kind": "epochs", "last": 2}, "max_images": ...},
        "averaging: epochs cannot go with validation.patience",
    ),
    "average within a number of images": (
        {"averaging": {"kind": "epochs", "last": 2}, "validation": ...},
        "averaging: epochs cannot go with max_images",
    ),
    "never validated": ({"validation.every": 5}, "validation.every: must not be more than epochs"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_does_not_go_together_is_refused_by_name(content, name):
    changes, line = CONTRADICTIONS[name]
    for place, value in changes.items():
        section, key = at(content["models"]["two"], place)
        section[key] = value
        if value is ...:
            del section[key]
    fails(content, f"models.two.{line}", problems=1)


@pytest.mark.parametrize(
    "sampler, images",
    [
        ({"kind": "identity", "identities": 10_000, "instances": 11}, 110_000),
        ({"kind": "actions", "actions": 101, "identities": 100, "instances": 10}, 101_000),
        ({"kind": "actions", "actions": 1000, "identities": 101}, 101_000),
        ({"kind": "actions", "actions": 10_000, "identities": 10_000, "instances": 1000}, 10**11),
    ],
)
def test_batch_has_bounds(content, sampler, images):
    line = f"models.one.sampler: asks for {images:,} images a batch; 100,000 are the most"
    fails(changed(content, "models.one.sampler", sampler), line, problems=1)
    sampler["identities"] = 2
    check_params(
        changed(content, "models.one.sampler", {**sampler, "actions": 5} if "actions" in sampler else sampler)
    )


@pytest.mark.parametrize("negatives", ["batch", "action"])
def test_one_action_a_batch(content, negatives):
    """In a batch of one action everybody else is of that action."""
    content["models"]["two"]["sampler"]["actions"] = 1
    check_params(changed(content, "models.two.loss.negatives", negatives))


@pytest.mark.parametrize("negatives", ["batch", "action+games"])
def test_memory_goes_with_losses_that_compare_with_references(content, negatives):
    loss = content["models"]["two"]["loss"]
    del loss["centroid"]
    params = check_params(changed(content, "models.two.loss", {**loss, "negatives": negatives, "memory": {"size": 9}}))
    assert params.models["two"].loss.memory.start == 0


@pytest.mark.parametrize("place", ["size", "start"])
@pytest.mark.parametrize("value", [10**30, -1, 1e300])
def test_memory_has_bounds(content, place, value):
    loss = {"supcon": {"temperature": 0.1}, "memory": {"size": 9, place: value}}
    fails(changed(content, "models.one.loss", loss), f"models.one.loss.memory.{place}: Input should be", problems=1)


def test_id_loss_alone_needs_one_image_of_an_identity(content):
    check_params(changed(content, "models.one.sampler.instances", 1))


def test_nothing_is_selected_by_a_split_that_is_trained_on(content):
    params = check_params(content)
    assert params.validated("two") is True
    assert params.validated("one") is False
    assert check_params(changed(content, "train.splits", ["train", "test"])).validated("two") is True
    assert check_params(changed(content, "train.splits", ["train", "valid"])).validated("two") is False


def test_all_contradictions_come_together(content):
    content["download"] = {"source": "local"}
    content["evaluate"]["ranks"] = [5]
    for model in content["models"].values():
        model["loss"] = {}
    fails(content, "download.path", "evaluate.ranks", "models.one.loss", "models.two.loss", problems=4)


def test_a_network_begins_with_weights_or_an_init(content):
    content["models"]["two"]["network"]["init"] = {"dirac": True}
    fails(content, "models.two.network.init: must be left out with network.weights", problems=1)


def test_places_leave_no_distances_for_reranking(content):
    fails(
        changed(content, "distances.fusion", "rank"), "distances.postprocessing.reranking: cannot go with", problems=1
    )
    check_params(without(content, "distances.postprocessing.reranking"))


def test_networks_that_are_not_trained_are_not_averaged(content):
    changed(changed(content, "models.two.epochs", 0), "models.two.optimizer.frozen_epochs", 0)
    fails(content, "models.two.soup: must be left out when epochs is 0", problems=1)


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
@pytest.mark.parametrize("name, value, none", [("chunk", 4, None), ("optimizer.accumulation", 2, 1)])
def test_results_of_several_calls_are_not_kept_in_cuda_graphs(content, mode, name, value, none):
    place = f"models.two.{name}"
    changed(without(content, "models.two.chunk"), "models.two.compile", mode)
    fails(changed(content, place, value), f"{place}: cannot go with compile {mode}, which keeps no result", problems=1)
    check_params(changed(content, "models.two.compile", "default"))
    check_params(changed(changed(content, "models.two.compile", mode), place, none))


def test_muon_is_not_in_tf32(content):
    changed(content, "models.one.precision", "tf32")
    fails(content, "models.one.optimizer.precision: fp32 cannot go with precision tf32", problems=1)
    check_params(changed(content, "models.one.optimizer.precision", "auto"))


def test_images_of_precise_bn_are_as_many_as_devices(content):
    changed(changed(content, "models.one.devices", 3), "models.one.precise_bn", 2)
    fails(content, "models.one.precise_bn: must not be less than devices", problems=1)
    check_params(changed(content, "models.one.precise_bn", 3))
