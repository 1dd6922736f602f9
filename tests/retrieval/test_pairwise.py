"""Distances pair by pair: those of SciPy, to the bit the same for equal rows wherever they stand."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from reid.retrieval.pairwise import pairwise

METRICS = ("euclidean", "cosine")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("components", [1, 2, 17, 512, 2048])
@pytest.mark.parametrize("scale", [1e-18, 1, 1e18])
def test_distances_are_those_of_scipy(metric, components, scale):
    rng = np.random.default_rng(components)
    query, gallery = (scale * rng.normal(size=(count, components)) for count in (7, 23))
    for kind in (np.float32, np.float64):
        rows = query.astype(kind), gallery.astype(kind)
        result, wanted = pairwise(*rows, metric), cdist(*(part.astype(np.float64) for part in rows), metric)
        assert result.dtype == np.float64
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-12 if metric == "cosine" else 0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("components", [1, 3, 16, 31, 512, 515])
def test_equal_rows_tie_to_the_bit_wherever_they_stand(metric, components):
    rng = np.random.default_rng(components)
    for gallery_size in (1, 2, 9, 40):
        query = rng.normal(size=(5, components)).astype(np.float32)
        gallery = rng.normal(size=(gallery_size, components)).astype(np.float32)
        query[3] = query[1]
        gallery[gallery_size // 2 :: 3] = gallery[0]
        distance = pairwise(query, gallery, metric)
        assert (distance[3] == distance[1]).all()
        assert (distance[:, gallery_size // 2 :: 3] == distance[:, [0]]).all()
        alone = pairwise(query[1:2], gallery[:1], metric)  # in another matrix too
        assert alone[0, 0] == distance[1, 0]
        assert (np.diag(pairwise(query, query, metric)) == 0).all()


@pytest.mark.parametrize("step", [1e-3, 1e-6, 1e-9, 1e-12])
def test_near_rows_keep_their_digits(step):
    """Of rows that differ in one component, far from zero: the matrix product's way loses all digits here."""
    rng = np.random.default_rng(0)
    query = rng.normal(size=(1, 512))
    gallery = query + step * np.eye(512)[:20] * np.arange(1, 21)[:, None]
    np.testing.assert_allclose(pairwise(query, gallery, "euclidean"), cdist(query, gallery), rtol=1e-8)


def test_a_row_of_zeros_has_no_angle():
    zero, other = np.zeros((1, 4)), np.ones((2, 4))
    assert np.isnan(pairwise(zero, other, "cosine")).all()
    assert pairwise(zero, other, "euclidean").tolist() == [[2, 2]]
    assert pairwise(zero, zero, "euclidean").tolist() == [[0]]


def test_no_cosine_distance_is_below_zero():
    rows = np.random.default_rng(0).normal(size=(200, 3))
    assert (pairwise(rows, 3.3 * rows, "cosine") >= 0).all()
