"""What a precision stands for, and that float32 means float32 on a GPU too."""

import pytest
import torch

from reid.core.errors import ReidError
from reid.models import device as compute
from reid.params.ranking import Embed

pytestmark = pytest.mark.usefixtures("torch_as_it_was")
CPU, GPU = torch.device("cpu"), torch.device("cuda")


def allowed():
    """Whether products and convolutions of a GPU may be in TF32, by PyTorch's older and newer names."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    newer = (cuda.fp32_precision, cudnn.conv.fp32_precision)
    assert [cuda.allow_tf32, cudnn.allow_tf32] == [name == "tf32" for name in newer]
    return {cuda.allow_tf32, cudnn.allow_tf32}


@pytest.mark.parametrize("where", [CPU, GPU], ids=str)
@pytest.mark.parametrize(
    "name, dtype",
    [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_only_tf32_is_tf32_and_only_on_a_gpu(name, dtype, where):
    for before in ("tf32", "fp32"):
        compute.precision(before, GPU)
        assert compute.precision(name, where) == dtype
        assert allowed() == {name == "tf32" and where == GPU}


def test_what_asks_for_nothing_gets_float32_and_what_repeats_itself():
    compute.precision("tf32", GPU)
    torch.backends.cuda.enable_cudnn_sdp(True)
    assert allowed() == {True}
    compute.prepare(1)
    assert allowed() == {False}
    assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cuda.cudnn_sdp_enabled() and torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.parametrize("generation, dtype", [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_auto_is_bf16_on_gpus_that_have_it(monkeypatch, generation, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: generation)
    assert compute.precision("auto", GPU) == dtype
    assert allowed() == {False}


def test_float32_needs_no_autocast():
    x = torch.ones(2, 2)
    with compute.autocast(compute.precision("tf32", CPU), CPU):
        assert (x @ x).dtype == torch.float32
    with compute.autocast(compute.precision("bf16", CPU), CPU):
        assert (x @ x).dtype == torch.bfloat16


def test_every_precision_is_a_parameter_of_models_and_of_embed():
    for name in ("auto", "fp32", "tf32", "bf16", "fp16"):
        assert Embed(batch_size=1, precision=name).precision == name
        assert compute.precision("fp32" if name == "auto" else name, CPU)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name, error", [("fp32", (0, 1e-5)), ("tf32", (1e-5, 1e-2))])
def test_products_and_convolutions_of_a_gpu_are_as_precise_as_chosen(name, error):
    if name == "tf32" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this GPU has no TF32")
    compute.prepare(1)
    compute.precision(name, GPU)
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.rand(512, 512, generator=generator) for _ in "ab")
    x, weight = torch.rand(8, 64, 16, 16, generator=generator), torch.rand(64, 64, 3, 3, generator=generator)
    for function, inputs in ((torch.matmul, (a, b)), (torch.nn.functional.conv2d, (x, weight))):
        wanted = function(*(value.double() for value in inputs))
        found = function(*(value.cuda() for value in inputs)).cpu()
        assert error[0] <= ((found - wanted).abs() / wanted).max() < error[1]


def test_what_cannot_repeat_itself_is_refused_unless_the_work_needs_it(caplog):
    compute.prepare(1)
    x, place = torch.zeros(4), torch.tensor([1])
    assert compute.strict_where_possible(lambda: x.add_(1))
    with pytest.raises(RuntimeError, match="deterministic"):
        x.put_(place, torch.ones(1))
    compute.prepare(1)
    assert not compute.strict_where_possible(lambda: x.put_(place, torch.ones(1)))
    assert "may differ in their last digits here: put_" in caplog.text
    with pytest.warns(UserWarning, match="put_"):
        x.put_(place, torch.ones(1))


def test_what_an_extension_needs_is_allowed_too(caplog):
    compute.prepare(1)
    said = "loss.mine (extensions/mine.py, line 3) fails: RuntimeError: put_ has no deterministic implementation"

    def work():
        raise ReidError(f"{said}, but you set 'torch.use_deterministic_algorithms(True)'")

    assert not compute.strict_where_possible(work)
    assert caplog.text.rstrip().endswith(said)


def test_another_error_of_the_work_is_its_own():
    with pytest.raises(RuntimeError, match="shape"):
        compute.strict_where_possible(lambda: torch.zeros(2).view(3))
