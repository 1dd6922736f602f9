"""The gradient of a batch's loss, also of a batch that does not fit into memory as a whole."""

from collections.abc import Callable

import torch

from reid.training import ranks

Features = Callable[[torch.Tensor], torch.Tensor]
Backward = Callable[[torch.Tensor], None]


def backward(features: Features, x: torch.Tensor, backward_of: Backward, count: int, chunk: int | None) -> None:
    """Add the gradient of a batch's loss to that of the parameters.

    With ``chunk`` as Gao et al. 2021 (GradCache): the embeddings first without a graph, the loss and its gradient for
    each embedding, and then the chunks of the batch once more, each with the gradient of its embeddings. The sum is
    the same, at the memory of one chunk and one more forward pass.

    Args:
        features: images to embeddings, in the precision of the training; of each image by itself where there are
            chunks. Random numbers are the same in both passes.
        x: float32, B' x 3 x height x width, the whole batch; each process takes its share (reid.training.ranks).
        backward_of: computes the loss of embeddings, float32 ``count`` x D, and its backward pass.
        count: B, images of the batch; what x has beyond them fills it up and has no part in the loss.
        chunk: images at a time; None for all at once.
    """
    if len(x) < ranks.count():  # some networks take no empty share; with batch norms too the gradient stays
        x = torch.cat([x] * -(-ranks.count() // len(x))).contiguous(memory_format=torch.channels_last)
    own = x[ranks.share(len(x))]
    if chunk is None or len(own) <= chunk:
        backward_of(ranks.gather(features(own), len(x))[:count])
        return
    parts, states, embeddings = own.split(chunk), [], []
    with torch.no_grad():
        for part in parts:
            states.append(_random_state(x.device))
            embeddings.append(features(part))
    leaf = torch.cat(embeddings).requires_grad_()
    backward_of(ranks.gather(leaf, len(x))[:count])
    assert leaf.grad is not None
    for part, state, gradient in zip(parts, states, leaf.grad.split(chunk), strict=True):
        _set_random_state(state, x.device)  # what is drawn after the last goes on as after the first pass
        again = features(part)
        if again.requires_grad:  # not where all that makes embeddings is frozen
            again.backward(gradient)


def _random_state(device: torch.device) -> torch.Tensor:
    return torch.cuda.get_rng_state() if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(state: torch.Tensor, device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state)
    else:
        torch.set_rng_state(state)
