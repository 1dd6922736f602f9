"""How the dev kit does it, written plainly: what the benchmark compares with.

Its algorithms, not its code; :func:`kit` takes the code itself from a checkout of github.com/SoccerNet/sn-reid.
"""

import glob
import importlib.util
import io
import os
import random
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def kit(path):
    """Functions of the dev kit's own files, under the names of those here.

    Args:
        path: a checkout of SoccerNet/sn-reid.
    """

    def load(name):
        spec = importlib.util.spec_from_file_location(Path(name).stem, Path(path) / "torchreid" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    distance, rank, sampler = load("metrics/distance"), load("metrics/rank"), load("data/sampler")

    def distance_matrix(query, gallery):
        import torch

        return distance.compute_distance_matrix(torch.from_numpy(query), torch.from_numpy(gallery)).numpy()

    def mean_average_precision(matrix, *labels):
        return float(rank.eval_soccernetv3(matrix, *labels, 50)[1])

    def identity_order(person, batch, instances):
        return list(sampler.RandomIdentitySampler([(None, p) for p in person.tolist()], batch, instances))

    return SimpleNamespace(
        name="the dev kit's own code",
        distance_matrix=distance_matrix,
        mean_average_precision=mean_average_precision,
        rank=rank_all,
        identity_order=identity_order,
        rerank=load("utils/rerank").re_ranking,
    )


def plain():
    """The functions below, as :func:`kit` gives those of the kit."""
    return SimpleNamespace(
        name="the dev kit's algorithm",
        distance_matrix=distance_matrix,
        mean_average_precision=mean_average_precision,
        rank=rank_all,
        identity_order=identity_order,
        rerank=rerank,
    )


def distance_matrix(query, gallery):
    """Squared Euclidean distances of all queries to all gallery boxes of a split: float32 Q x G."""
    import torch

    query, gallery = torch.from_numpy(query), torch.from_numpy(gallery)
    lengths = query.square().sum(1, keepdim=True) + gallery.square().sum(1)
    return lengths.addmm_(query, gallery.T, alpha=-2).numpy()


def rank_all(matrix, query_action, gallery_action):
    """Position of each query's gallery boxes, best first: all of the split are sorted, those of the action kept."""
    order = np.argsort(matrix, axis=1)
    return [row[gallery_action[row] == action] for row, action in zip(order, query_action, strict=True)]


def mean_average_precision(matrix, query_person, gallery_person, query_action, gallery_action):
    """mAP, query by query, from one more sort of the whole matrix."""
    order = np.argsort(matrix, axis=1)
    match = (gallery_person[order] == query_person[:, None]).astype(np.int32)
    ap = []
    for row, hits, action in zip(order, match, query_action, strict=True):
        hits = hits[gallery_action[row] == action]
        precision = [hit / (i + 1) for i, hit in enumerate(hits.cumsum())]
        ap.append((np.asarray(precision) * hits).sum() / hits.sum())
    return float(np.mean(ap))


def identity_order(person, batch, instances):
    """One epoch: ``batch // instances`` identities at a time, ``instances`` images of each, until too few are left."""
    rows_of = defaultdict(list)
    for row, owner in enumerate(person.tolist()):
        rows_of[owner].append(row)
    groups = {}
    for owner, rows in rows_of.items():
        rows = list(rows)
        if len(rows) < instances:
            rows = np.random.choice(rows, instances, replace=True).tolist()
        random.shuffle(rows)
        groups[owner] = [rows[i : i + instances] for i in range(0, len(rows) - instances + 1, instances)]
    left, order = list(groups), []
    while len(left) >= batch // instances:
        for owner in random.sample(left, batch // instances):
            order += groups[owner].pop(0)
            if not groups[owner]:
                left.remove(owner)
    return order


def rerank(query_gallery, query_query, gallery_gallery, k1=20, k2=6, lambda_value=0.3):
    """k-reciprocal re-ranking (Zhong 2017) of a whole split at once, box by box: float32 Q x G."""
    queries = len(query_query)
    distance = np.block([[query_query, query_gallery], [query_gallery.T, gallery_gallery]]).astype(np.float32) ** 2
    distance /= distance.max(axis=1, keepdims=True)
    order = np.argsort(distance, axis=1)
    count = len(distance)
    weight = np.zeros((count, count), np.float32)

    def mutual(box, k):
        near = order[box, : k + 1]
        return near[(order[near, : k + 1] == box).any(axis=1)]

    for box in range(count):
        own = members = mutual(box, k1)
        for other in own:
            candidates = mutual(other, round(k1 / 2))
            if len(np.intersect1d(candidates, own)) > 2 / 3 * len(candidates):
                members = np.union1d(members, candidates)
        share = np.exp(-distance[box, members])
        weight[box, members] = share / share.sum()
    weight = np.stack([weight[order[box, :k2]].mean(axis=0) for box in range(count)])
    holders = [np.flatnonzero(weight[:, box]) for box in range(count)]
    jaccard = np.empty((queries, count), np.float32)
    for query in range(queries):
        smaller = np.zeros(count, np.float32)
        for member in np.flatnonzero(weight[query]):
            smaller[holders[member]] += np.minimum(weight[query, member], weight[holders[member], member])
        jaccard[query] = 1 - smaller / (2 - smaller)
    return (jaccard * (1 - lambda_value) + distance[:queries] * lambda_value)[:, queries:]


def list_files(folder):
    """Path, person and action of every image below a folder of extracted files."""
    paths = glob.glob(os.path.join(folder, "*/*/*/*/*.png"))
    paths.sort(key=lambda path: int(os.path.basename(path).split("-")[0]))
    files = []
    for path in paths:
        fields = os.path.basename(path).split(".")[0].split("-")
        height, width = fields[-1].split("x")
        files.append((path, fields[2], int(fields[1]), int(height), int(width)))
    return files


def images(contents, height, width):
    """A batch for the network, from PNG files: float32 tensor B x 3 x H x W."""
    import torch
    from PIL import Image
    from torchvision.transforms import v2

    change = v2.Compose(
        [
            v2.Resize((height, width)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    return torch.stack([change(Image.open(io.BytesIO(content)).convert("RGB")) for content in contents])


class Training:
    """The kit's loop: files are decoded for every batch, and all is computed in float32.

    Args:
        network: reid.models.embedder.Embedder, as its ``features`` compute.
        files: contents of the PNG files of one batch, those of an identity side by side.
        size: (height, width) of the network's input.
        instances: files of an identity.
    """

    def __init__(self, network, files, size, instances):
        import torch

        self.network, self.files, self.size = network.train(), files, size
        self.classifier = torch.nn.Linear(network.width, 1000)
        parameters = [*network.parameters(), *self.classifier.parameters()]
        self.optimizer = torch.optim.Adam(parameters, 3e-4, weight_decay=5e-4)
        self.triplet = torch.nn.TripletMarginLoss(0.3)
        self.entropy = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
        self.identity = torch.arange(len(files) // instances).repeat_interleave(instances)

    def step(self):
        """Train on the batch."""
        import torch

        embeddings = self.network.features(images(self.files, *self.size))
        lengths = torch.cdist(embeddings, embeddings)
        same = self.identity[:, None] == self.identity
        far = torch.where(same, lengths, -1).argmax(1)
        near = torch.where(same, torch.inf, lengths).argmin(1)
        loss = 0.5 * self.triplet(embeddings, embeddings[far], embeddings[near])
        loss = loss + 0.5 * self.entropy(self.classifier(embeddings), self.identity)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def embed(self, times):
        """Embed the batch several times; there is no training after it."""
        import torch

        self.network.eval()
        with torch.no_grad():
            for _ in range(times):
                self.network(images(self.files, *self.size))
