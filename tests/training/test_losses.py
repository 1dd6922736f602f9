"""Losses over pairs against loops over images and identities, and against pytorch-metric-learning."""

import contextlib

import numpy as np
import pytest
import torch
from pytorch_metric_learning import distances, miners, reducers
from pytorch_metric_learning import losses as library

from builders.losses import (
    NEGATIVES,
    PAIR_LOSSES,
    WITH_REFERENCES,
    batch,
    gradient_of,
    loss_of,
    naive_pairs,
    naive_triplet,
    pair_loss,
    value_of,
)
from reid.training.pair_losses import mined_pairs, pair_masks, semi_hard_triplets

every_loss = pytest.mark.parametrize("name", PAIR_LOSSES)
every_choice = pytest.mark.parametrize("negatives", NEGATIVES)


@every_choice
def test_pairs_equal_the_naive_loop(negatives):
    for seed in range(3):
        _, labels = batch(seed)
        pairs = [[torch.where(row)[0].tolist() for row in mask] for mask in pair_masks(*labels, negatives)]
        assert pairs == list(naive_pairs(*(label.tolist() for label in labels), negatives))


def test_a_negative_as_far_as_the_positive_is_not_beyond_it():
    distance = torch.tensor([[0.0, 1.0, 1.0, 3.0]])
    positive, negative = torch.tensor([[False, True, False, False]]), torch.tensor([[False, False, True, True]])
    assert semi_hard_triplets(distance, positive, negative, margin=2.5) == 0.5


def test_supcon_is_0_where_only_images_that_are_no_anchors_have_negatives():
    labels = torch.tensor([[0, 0, 0, 1, 2], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    assert value_of(loss_of("action", supcon={"temperature": 0.3}), x, list(labels)) == 0
    assert value_of(loss_of("batch", supcon={"temperature": 0.3}), x, list(labels)) > 0


def test_pairs_of_five_images():
    identity, action, game = torch.tensor([[0, 0, 1, 2, 3], [0, 0, 0, 1, 2], [0, 0, 0, 0, 1]])
    used = {
        name: [torch.where(row)[0].tolist() for row in pair_masks(identity, action, game, name)[1]]
        for name in NEGATIVES
    }
    assert used == {
        "batch": [[2, 3, 4], [2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3]],
        "action": [[2], [2], [0, 1], [], []],
        "action+games": [[2, 4], [2, 4], [0, 1, 4], [4], [0, 1, 2, 3]],  # 3 may be 0, 1 or 2 in another action
    }


@every_choice
@every_loss
def test_loss_equals_the_naive_loop(name, negatives):
    criterion, naive = pair_loss(name, negatives)
    for seed in range(3):
        x, labels = batch(seed)
        losses = criterion(x, *labels)
        assert set(losses) == {"loss", name.split()[0]}
        assert float(losses["loss"]) == pytest.approx(naive(x, labels), rel=1e-9)


@every_choice
@every_loss
def test_gradient_equals_a_difference_quotient(name, negatives):
    criterion, naive = pair_loss(name, negatives)
    x, labels = batch(11)
    fixed = {"fixed": x.tolist()} if name == "circle" else {}
    gradient = gradient_of(criterion, x, labels)
    step = 1e-5 * np.random.default_rng(0).normal(size=(3, *x.shape))
    for direction in step:
        up, down = (naive(x.numpy() + sign * direction, labels, **fixed) for sign in (1, -1))
        assert float((gradient * torch.tensor(direction)).sum()) == pytest.approx((up - down) / 2, rel=1e-5, abs=1e-11)


@pytest.mark.parametrize(
    "negatives, other_game, counts",
    [
        ("batch", False, True),
        ("action", False, False),
        ("action", True, False),
        ("action+games", False, False),
        ("action+games", True, True),
    ],
)
@pytest.mark.parametrize("name", [name for name in PAIR_LOSSES if not name.startswith("info_nce")])
def test_only_allowed_negatives_have_an_influence(name, negatives, other_game, counts):
    """Anchors are in action 0 (game 0); one image each of actions 1 (game 0) or 2 (game 1) comes near to them.

    InfoNCE takes pairs alone.
    """
    criterion, _ = pair_loss(name, negatives)
    x, labels = batch(2, [0, 0, 0, 7, 7, 2, 4 if other_game else 3])
    alone = value_of(criterion, x[:-1], [label[:-1] for label in labels])
    gradient = gradient_of(criterion, x, labels)[-1]
    x[-1] = x[0] + 0.01  # harder than any other
    near = value_of(criterion, x, labels)
    if counts:
        assert near != pytest.approx(alone, rel=1e-3)
        assert near > alone or name == "triplet semi_hard"  # the negatives that it takes are others
        assert name.startswith(("triplet", "multi_similarity mined")) or gradient.any()  # they take a few negatives
    else:
        assert near == pytest.approx(alone, rel=1e-12)
        assert not gradient.any()
        assert not gradient_of(criterion, x, labels)[-1].any()


@every_choice
@every_loss
def test_batch_without_positives_is_zero_and_can_be_trained_on(name, negatives):
    x, labels = batch(3, [0, 2, 3, 4, 5, 9])
    criterion, _ = pair_loss(name, negatives)
    assert value_of(criterion, x, labels) == 0
    assert not gradient_of(criterion, x, labels).any()


@pytest.mark.parametrize("identity", [[5, 5, 5, 5], [0, 0, 0, 3, 3, 9, 9, 9]])  # one identity; one of each action
@every_loss
def test_batch_without_negatives_can_be_trained_on(name, identity):
    x, labels = batch(4, identity)
    criterion, naive = pair_loss(name, "action")
    wanted = naive(x, labels) if name in ("multi_similarity", "contrastive") else 0
    assert value_of(criterion, x, labels) == pytest.approx(wanted, abs=1e-12)
    assert torch.isfinite(gradient_of(criterion, x, labels)).all()


@every_loss
def test_anchor_without_negatives_counts_in_the_mean(name):
    """But not in that of the triplet, which needs a negative; supcon pulls the three images of 9 together."""
    x, labels = batch(5, [0, 0, 7, 9, 9, 9, 10])
    criterion, naive = pair_loss(name, "action")
    value = value_of(criterion, x, labels)
    rest = value_of(criterion, x[:3], [label[:3] for label in labels])
    assert value == pytest.approx(naive(x, labels), rel=1e-9)
    elements = {"ntxent": 8, "triplet": 2, "info_nce": 2 * 2}.get(name.split()[0], 5)  # two of them in ``rest``
    if name.startswith("supcon") or name in ("multi_similarity", "contrastive"):
        assert value != pytest.approx(rest * 2 / elements, rel=1e-2)
    elif not name.startswith("info_nce"):  # here with one pair in the batch it is 0
        assert value == pytest.approx(rest * 2 / elements, rel=1e-9)
        assert value > 0


def test_anchors_whose_loss_is_zero_count_in_the_mean():
    """Two identities of action 0 stand opposite to each other, and circle's exp(-256) is no float32."""
    x = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [-1, 0], [1, 0], [0, 1], [1, 1]])
    labels = torch.tensor([[0, 0, 2, 2, 3, 3, 5], [0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]])
    criterion = loss_of("action", circle={"margin": 0.25, "gamma": 4096.0})
    assert value_of(criterion, x[:4], labels[:, :4]) == 0
    rest = value_of(criterion, x[4:], labels[:, 4:])
    assert rest > 0
    assert value_of(criterion, x, labels) == pytest.approx(rest * 2 / 6)


def libraries(name):
    """A loss of pytorch-metric-learning."""
    given, mean = PAIR_LOSSES[name][0], {"reducer": reducers.MeanReducer()}
    euclidean = {"distance": distances.LpDistance(normalize_embeddings=False)}
    return {
        "supcon": lambda: library.SupConLoss(given["temperature"], **mean),
        "ntxent": lambda: library.NTXentLoss(given["temperature"], **mean),
        "multi_similarity": lambda: library.MultiSimilarityLoss(given["alpha"], given["beta"], given["base"], **mean),
        "circle": lambda: library.CircleLoss(given["margin"], given["gamma"], **mean),
        "triplet": lambda: library.TripletMarginLoss(given["margin"], **euclidean, **mean),
    }[name.split()[0]]()


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-6)])
@pytest.mark.parametrize(
    "name", ["supcon", "ntxent", "multi_similarity", "multi_similarity mined", "circle", "triplet all"]
)
@every_choice
def test_loss_equals_the_librarys(negatives, name, dtype, tolerance):
    """Of rows that are anchors, over which it takes the mean; pairs are lists of indices there."""
    for seed in range(3):
        x, labels = batch(seed)
        x = x.to(dtype)
        positive, negative = pair_masks(*labels, negatives)
        anchor = torch.where(positive.any(1))[0]
        if name == "multi_similarity mined":  # see the next test
            cosine = distances.CosineSimilarity()(x)
            positive, negative = mined_pairs(cosine, positive, negative, PAIR_LOSSES[name][0]["epsilon"])
        pairs = (*torch.where(positive[anchor]), *torch.where(negative[anchor]))
        if name == "ntxent":
            wanted = libraries(name)(x, indices_tuple=(*torch.where(positive), *torch.where(negative)))
        else:
            wanted = libraries(name)(x[anchor], indices_tuple=pairs, ref_emb=x)
        assert value_of(pair_loss(name, negatives)[0], x, labels) == pytest.approx(float(wanted), rel=tolerance)


def test_mined_pairs_are_the_librarys():
    x, labels = batch(7)
    masks = mined_pairs(distances.CosineSimilarity()(x), *pair_masks(*labels, "batch"), 0.1)
    found = miners.MultiSimilarityMiner(0.1)(x, labels[0])
    for mask, wanted in zip(masks, (found[:2], found[2:]), strict=True):
        pairs = [set(zip(*(index.tolist() for index in two), strict=True)) for two in (torch.where(mask), wanted)]
        assert pairs[0] == pairs[1] and pairs[0]


def test_contrastive_is_half_the_squares_of_the_librarys_terms():
    x, labels = batch(8)
    per_pair = library.ContrastiveLoss(0.5, 1.5, distance=distances.LpDistance(), reducer=reducers.DoNothingReducer())
    positive, negative = pair_masks(*labels, "batch")
    anchors = negative & positive.any(1, keepdim=True)
    terms = per_pair(x, indices_tuple=(*torch.where(positive), *torch.where(anchors)))
    wanted = sum(float(terms[kind]["losses"].square().mean()) / 2 for kind in ("pos_loss", "neg_loss"))
    assert value_of(pair_loss("contrastive", "batch")[0], x, labels) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_no_step_depends_on_values_so_that_no_device_is_waited_for(name, monkeypatch):
    """On the device "meta" tensors have no values, and whatever asks for one fails."""
    monkeypatch.setattr(torch, "autocast", lambda *given, **options: contextlib.nullcontext())  # there it has none
    memory = {"memory": {"size": 7}} if name in WITH_REFERENCES else {}
    id_losses = {"id": {"over": "action", "label_smoothing": 0.1}, "arcface": {"scale": 8, "margin": 0.5}}
    for negatives in NEGATIVES:
        criterion = pair_loss(name, negatives, **memory, **id_losses)[0].to("meta")
        x = torch.zeros(20, 8, device="meta", requires_grad=True)
        labels = torch.zeros(3, 20, dtype=torch.int64, device="meta")
        criterion(x, *labels, 2 * x)["loss"].backward()
        assert x.grad.shape == x.shape


@pytest.mark.parametrize("name", ["supcon", "ntxent", "info_nce"])
def test_temperature_is_learned_but_not_below_a_hundredth(name):
    x, labels = batch(9)
    given = {"temperature": 0.3, "label_smoothing": 0.1}
    fixed, learned = (loss_of(**{name: {**given, "learn_temperature": value}}).double() for value in (False, True))
    assert not list(fixed.parameters())
    (parameter,) = learned.parameters()
    assert value_of(learned, x, labels) == pytest.approx(value_of(fixed, x, labels), rel=1e-6)
    learned(x, *labels)["loss"].backward()
    step = 1e-4
    up, down = (
        value_of(loss_of(**{name: {**given, "temperature": 0.3 * np.exp(sign * step)}}), x, labels) for sign in (1, -1)
    )
    assert float(parameter.grad) == pytest.approx((up - down) / (2 * step), rel=1e-4)
    torch.nn.init.constant_(parameter, -9.0)
    lowest = loss_of(**{name: {**given, "temperature": 0.01}})
    assert value_of(learned, x, labels) == pytest.approx(value_of(lowest, x, labels), rel=1e-6)
    assert float(parameter.detach()) == pytest.approx(np.log(0.01))


@pytest.mark.parametrize("name", ["supcon", "ntxent"])
def test_hard_pair_at_a_low_temperature_keeps_its_gradient(name):
    """The share of the positive, exp(-200), is no float32."""
    x = torch.tensor([[1.0, 0.1], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.1]])
    labels = torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
    criterion = loss_of(**{name: {"temperature": 0.01}})
    positive, negative = naive_pairs(*(label.tolist() for label in labels), "batch")
    wanted = PAIR_LOSSES[name][1](x.tolist(), positive, negative, labels[0], 0.01)
    assert wanted > 150
    assert value_of(criterion, x, labels) == pytest.approx(wanted, rel=1e-5)
    assert gradient_of(criterion, x, labels).abs().max() > 1


@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("size", [7, 12, 60])  # 7: five identities have one image; 60: cdist computes another way
def test_triplet_equals_the_naive_loop(size, margin):
    for seed in range(5):
        x, labels = batch(seed, np.random.default_rng(seed).permutation(np.arange(size) % 6))
        positive, negative = naive_pairs(*(label.tolist() for label in labels), "batch")
        wanted = naive_triplet(x.tolist(), positive, negative, None, margin)
        assert value_of(loss_of(triplet={"margin": margin}), x, labels) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("size", [8, 32])
def test_triplet_equals_the_naive_loop_where_an_image_stands_twice(size):
    x, labels = batch(3, np.arange(size) % 6)
    x, labels = torch.cat([x, x[:4]]).float(), [torch.cat([label, label[:4]]) for label in labels]
    criterion, naive = pair_loss("triplet", "batch")
    assert value_of(criterion, x, labels) == pytest.approx(naive(x, labels), abs=1e-3)
    assert torch.isfinite(gradient_of(criterion, x, labels)).all()


def test_triplet_of_one_identity_with_the_same_image_twice_pushes_only_the_negatives():
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.1, 0.0], [0.1, 0.0]], dtype=torch.float64)
    labels = torch.tensor([[0, 0, 2, 2], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert value_of(pair_loss("triplet", "batch")[0], x, labels) == pytest.approx(0.2)


@every_choice
def test_loss_is_the_weighted_sum_of_its_parts(negatives):
    torch.manual_seed(3)
    weights = {"supcon": 2.0, "triplet": 0.25, "centroid": 0.5, "id": 3.0}
    given = {name: {"weight": weights[name], **PAIR_LOSSES[name][0]} for name in weights if name != "id"}
    x, labels = batch(5)
    criterion = loss_of(negatives, **given, id={"weight": 3.0, "label_smoothing": 0.1, "over": "action"}).double()
    losses = {name: float(value.detach()) for name, value in criterion(x, *labels).items()}
    assert set(losses) == {"loss", *weights}
    assert losses["loss"] == pytest.approx(sum(weights[name] * losses[name] for name in weights))
    for name in given:
        assert losses[name] == pytest.approx(pair_loss(name, negatives)[1](x, labels))
        alone = loss_of(negatives, **{name: given[name]})
        assert value_of(alone, x, labels) == pytest.approx(weights[name] * losses[name])
        assert not list(alone.parameters())


def test_low_precision_outside_does_not_reach_the_losses():
    given = {name: part for name, (part, _) in PAIR_LOSSES.items() if " " not in name}
    criterion = loss_of(**given, id={"label_smoothing": 0.1, "over": "action"}, arcface={"scale": 8, "margin": 0.5})
    for parameter in criterion.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    x, labels = batch(9)
    x = x.bfloat16()
    outside = criterion(x.float(), *labels)
    with torch.autocast("cpu", torch.bfloat16):
        inside = criterion(x, *labels)
    assert set(inside) == {"loss", "id", "arcface", *given}
    for name, value in outside.items():
        assert inside[name].dtype == torch.float32
        assert inside[name] == value


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@every_choice
def test_gpu_repeats_to_the_bit_and_agrees_with_the_cpu(negatives, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    x, labels = batch(10)
    there = [label.cuda() for label in labels]
    torch.use_deterministic_algorithms(True)
    try:
        for name, (given, _) in PAIR_LOSSES.items():
            id_loss = {"label_smoothing": 0.1, "over": "action"}
            criterion = loss_of(negatives, **{name.split()[0]: given}, id=id_loss).double()
            wanted = gradient_of(criterion, x, labels)
            criterion.cuda()
            first, again = (gradient_of(criterion, x.cuda(), there) for _ in range(2))
            assert torch.equal(first, again)
            assert torch.allclose(first.cpu(), wanted, rtol=1e-9, atol=1e-12)
    finally:
        torch.use_deterministic_algorithms(False)
