"""One training by several processes: the weights of one alone, and a killed one goes on to the same bytes."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from builders import FAULTS, ROOT, thorough
from builders.training import equal
from reid.core.errors import ReidError
from reid.training import ranks

COUNTS = (2, 3) if FAULTS else (2,)  # each process takes seconds to begin
STEPS = {"torch.float64": 10, "torch.float32": 50} if FAULTS else {"torch.float64": 10, "torch.float32": 10}
NETWORKS = {
    "batch_norm": {
        "network.backbone": "test_resnet",
        "network.bnneck": True,
        "network.checkpointing": True,
        "optimizer.bias_scale": 16,
        "precise_bn": 25,
    },
    "transformer": {"network.backbone": "test_vit", "network.pooling": "token"},
}

# Trains each network in float64 and float32 and keeps losses and weights; every process does, to be compared.
PROGRAM = """
    import sys, torch
    from builders.training import trainer_of, league, weights
    from reid.training import precise_bn, ranks

    precise_bn.BATCH = 9
    kinds, steps_of, out = {networks}, {steps}, sys.argv[1]
    result = {{}}
    for name, changes in kinds.items():
        for dtype in (torch.float64, torch.float32):
            trainer = trainer_of(changes | {{
                "loss": {{"negatives": "action", "supcon": {{"temperature": 0.05}}, "id": {{"label_smoothing": 0.1}}}},
                "augmentation.crop": {{"probability": 1.0, "margin": 0.1}},
                "augmentation.random_erasing": {{"probability": 0.5, "smallest": 0.02, "largest": 0.4}},
                "sampler": {{"kind": "actions", "actions": 2, "identities": 4, "instances": 2}},
                "averaging": {{"kind": "ema", "decay": 0.9}}, "epochs": 30, "optimizer.clip_norm": 1.0,
                # Adam divides by the size of the gradient: what is rounding alone becomes a whole step in float32
                "optimizer.kind": "adam" if dtype == torch.float64 else "sgd", "optimizer.learning_rate": 1e-4,
            }}, league(4, 4, 3))
            for part in (trainer.network, trainer.criterion, trainer.average):
                part.to(dtype)
            losses = []
            while len(losses) < steps_of[str(dtype)]:
                before = float(trainer.sums.get("loss", 0))
                trainer.step()
                losses.append(float(trainer.sums["loss"]) - before)
                if trainer.epoch_is_over:
                    trainer.end_epoch()
            networks = trainer.network, trainer.average, trainer.last()
            result[name, str(dtype)] = losses, *map(weights, networks)
    torch.save(result, f"{{out}}.{{ranks.rank()}}")
    ranks.leave()
"""

# A whole training in two processes that keeps its state after each batch; one of them may kill itself.
WHOLE = """
    import os, signal, sys, torch
    from builders.training import inputs, league
    from reid.core.cli import log
    from reid.training import ranks
    from reid.training import trainer as training
    from reid.training.resume import TrainingState
    from reid.training.train import train

    out, victim, at = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ranks.require(2)
    step, steps = training.Trainer.step, [0]

    def counted(self):
        steps[0] += 1
        if steps[0] == at:
            print("here", flush=True)
            if ranks.rank() == victim:
                os.kill(os.getpid(), signal.SIGKILL)
            if victim < 0:
                import time
                time.sleep(3)  # until it has been told to end
        return step(self)

    training.Trainer.step = counted
    changes = {
        "network.backbone": "test_vit", "network.pooling": "token", "network.drop_path": 0.2,
        "averaging": {"kind": "ema", "decay": 0.9}, "epochs": 3, "devices": 2, "optimizer.learning_rate": 1e-4,
        "augmentation.random_erasing": {"probability": 0.5, "smallest": 0.02, "largest": 0.4},
    }
    trained = train(*inputs(changes, league(4)), state=TrainingState(f"{out}.state", "this", every=0), progress=False)
    torch.save(trained.last.state_dict(), f"{out}.{ranks.rank()}")
    print("steps", steps[0], flush=True)
    ranks.leave()
"""

# Two processes that wait: one of them fails, or all are to end with the one that started them.
WAITS = """
    import os
    import time
    import torch
    from reid.core import cli
    from reid.core.errors import ReidError
    from reid.training import ranks

    def main(args):
        ranks.require(2)
        ranks.join(torch.device("cpu"))
        ranks.agreed(False)
        os.write(1, b"here\\n")  # at once: print writes the end of the line by itself
        if args.fails and ranks.rank() == 1:
            raise ReidError("wrong")
        while True:
            ranks.agreed(False)
            time.sleep(0.1)

    parser = cli.parser(None)
    parser.add_argument("--fails", action="store_true")
    cli.run(main, parser)
"""


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory):
    """Result of each process of a training by one and several of them: number to list."""
    folder = tmp_path_factory.mktemp("ranks")
    program = folder / "program.py"
    program.write_text(textwrap.dedent(PROGRAM.format(networks=NETWORKS, steps=STEPS)))
    results = {}
    for count in (1, *COUNTS):
        out = folder / f"of_{count}"
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        command = [sys.executable, *(torchrun if count > 1 else []), program, out]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results[count] = [torch.load(f"{out}.{rank}", weights_only=True) for rank in range(count)]
    return results


def environment():
    # CUDA or not, these compare with one process on the CPU
    folders = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    return os.environ | {"PYTHONPATH": folders, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("torch.float64", 1e-10), ("torch.float32", 1e-4)])
def test_several_processes_train_as_one_does(of_ranks, count, network, dtype, tolerance):
    key = network, dtype
    ((losses, *arrays),) = [result[key] for result in of_ranks[1]]
    for other_losses, *other_arrays in [result[key] for result in of_ranks[count]]:
        assert other_losses == pytest.approx(losses, rel=tolerance)
        for one, other in zip(arrays, other_arrays, strict=True):
            for name, value in one.items():
                scale = float(value.double().abs().max()) if value.is_floating_point() else 0
                torch.testing.assert_close(other[name], value, rtol=tolerance, atol=tolerance * max(scale, 1e-3))


@pytest.mark.parametrize("count", COUNTS)
def test_all_processes_come_to_the_same_bytes(of_ranks, count):
    first, *others = of_ranks[count]
    for other in others:
        for key, (losses, *arrays) in first.items():
            assert other[key][0] == losses
            assert all(equal(*pair) for pair in zip(arrays, other[key][1:], strict=True))


def run_whole(folder, name, victim=9, at=-1, tell=None):
    program = folder / "whole.py"
    program.write_text(textwrap.dedent(WHOLE))
    command = [sys.executable, program, folder / name, str(victim), str(at)]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        if tell:
            assert process.stdout.readline() == "here\n"
            process.send_signal(tell)
        said, error = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said, error


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    code, _, error = run_whole(folder, "whole")
    assert code == 0, error
    return torch.load(folder / "whole.0", weights_only=True)


@thorough
@pytest.mark.parametrize("victim", [0, 1])
def test_killed_process_takes_the_other_along_and_both_go_on_to_the_same_bytes(unbroken, tmp_path, victim):
    code, *_ = run_whole(tmp_path, "it", victim, at=4)
    assert code == 128 + signal.SIGKILL and not list(tmp_path.glob("it.[01]"))
    code, said, error = run_whole(tmp_path, "it")
    assert code == 0, error
    steps = [int(line.split()[1]) for line in said.splitlines()]
    assert steps == [3, 3]  # of six, the first three were kept
    for rank in (0, 1):
        assert equal(torch.load(tmp_path / f"it.{rank}", weights_only=True), unbroken)


@thorough
@pytest.mark.parametrize("tell", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_told_to_end_both_keep_their_state_and_end(unbroken, tmp_path, tell):
    """Also when the one that has started them is killed, which cannot tell them."""
    started = time.monotonic()
    code, *_ = run_whole(tmp_path, "it", -1, at=3, tell=tell)
    wanted = -tell if tell == signal.SIGKILL else 128 + tell
    assert code == wanted and time.monotonic() - started < 60
    code, said, error = run_whole(tmp_path, "it")
    assert code == 0, error
    assert said.splitlines() == ["steps 3", "steps 3"]
    assert equal(torch.load(tmp_path / "it.0", weights_only=True), unbroken)


def test_processes_end_with_the_one_that_started_them(start_program):
    """Which holds the GPUs for them."""
    launcher = start_program(WAITS, **environment())
    assert [launcher.stdout.readline() for _ in range(2)] == ["here\n"] * 2
    launcher.kill()
    launcher.communicate(timeout=60)  # ends when nobody can write any more


@thorough
def test_error_of_one_process_is_the_only_one(start_program):
    launcher = start_program(WAITS, "--fails", **environment())
    _, said = launcher.communicate(timeout=120)
    assert (launcher.returncode, said) == (1, "error: wrong\n")


@pytest.mark.parametrize(
    "message, ends",
    [
        ("[pair.cc:561] Connection closed by peer [127.0.0.1]:2432. GLHF!", SystemExit),
        ("[pair.cc:534] Read error [127.0.0.1]:80: Connection reset by peer", SystemExit),
        ("NCCL error ... ncclRemoteError: A call failed possibly due to a remote process exiting", SystemExit),
        ("CUDA out of memory. Tried to allocate 20.00 GiB", RuntimeError),
    ],
)
def test_a_sum_ends_this_process_where_another_has_ended(monkeypatch, message, ends):
    def fails(x, op):
        raise RuntimeError(message)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks.dist, "all_reduce", fails)
    monkeypatch.setattr(ranks.time, "sleep", lambda seconds: None)
    x = torch.ones(3, 4, requires_grad=True)
    x.grad = torch.ones(3, 4)
    norm = torch.nn.Sequential(torch.nn.BatchNorm1d(4))
    ranks.share_statistics(torch.nn.ModuleDict({"backbone": norm}), "backbone")
    for work in (
        lambda: ranks.agreed(False),
        lambda: ranks.gather(x[:1], 3),
        lambda: ranks.mean_gradients([x]),
        lambda: norm(x),
    ):
        with pytest.raises(ends):
            work()


def test_a_rank_among_none_is_that_of_the_first(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (ranks.count(), ranks.rank()) == (1, 0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (ranks.count(), ranks.rank()) == (2, 1)


@pytest.mark.parametrize(
    "environment, message",
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "devices: is 3 for this model, but torchrun has started 2 processes"),
        ({"WORLD_SIZE": "x"}, 'WORLD_SIZE: "x" is not a whole number from 1 to 65,536; torchrun sets'),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE: 0 is not a whole number from 1 to 65,536; torchrun sets"),
        ({"WORLD_SIZE": "3", "RANK": "3"}, "RANK: 3 is not a whole number from 0 to 2; torchrun sets"),
        ({"WORLD_SIZE": "3"}, "the 3 processes of WORLD_SIZE cannot meet: .*RANK expected, but not set; torchrun"),
        (
            {"WORLD_SIZE": "3", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "x"},
            "the 3 processes of WORLD_SIZE cannot meet: .*'x'; torchrun sets",
        ),
    ],
)
def test_processes_that_are_not_those_of_torchrun_are_one_error(monkeypatch, environment, message):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ReidError, match=message):
        ranks.require(3)
        ranks.join(torch.device("cpu"))
