"""How a hostile input is tried: one clear error or a sound result, in bounded time and memory."""

import os
import random
import resource
import time
from collections import Counter

from reid.core.errors import ReidError

TRIES = 120  # of each kind in `make test`: about two minutes in all on two cores
SECONDS = 10  # of work that one input may take
MEMORY = 1_500_000_000  # bytes that the process may grow by while a kind is tried
MINUTES = float(os.environ.get("FUZZ_MINUTES", 0))
COUNTS = Counter()


def seeds(kinds=12, tries=TRIES):
    """Seeds of the tries of one kind: the same in every run; more of them when there is time (`make fuzz`)."""
    if not MINUTES:
        yield from range(tries)
        return
    end, seed = time.monotonic() + 60 * 2 * MINUTES / kinds, 0
    while time.monotonic() < end:
        yield seed
        seed += 1


def attempt(read, name=""):
    """Whether a reader takes an input: True, or False for one clear error that names the file.

    Anything else (another exception, a traceback in the message, too long, too much memory) fails the test.
    """
    started, before = time.process_time(), _peak()
    COUNTS["tried"] += 1
    try:
        read()
        taken = True
    except ReidError as error:
        message, taken = str(error), False
        assert message.strip() and "Traceback" not in message and "weights_only" not in message
        assert name in message, message
        assert max(map(len, message.splitlines())) < 2000, message
    assert time.process_time() - started < SECONDS
    assert _peak() - before < MEMORY
    COUNTS["as promised"] += 1
    return taken


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def mutated(content, seed):
    """Bytes like these, but for what a bad disk, a bad copy or a bad person does to them."""
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        place = rng.randrange(len(data)) if data else 0
        what = rng.randrange(9)
        if what == 0:
            data[place : place + 1] = bytes([rng.randrange(256)])
        elif what == 1 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif what == 2:
            del data[place:]
        elif what == 3:
            del data[place : place + rng.choice([1, 4, 64, 4096])]
        elif what == 4:
            data[place:place] = rng.randbytes(rng.choice([1, 4, 64, 4096]))
        elif what == 5:
            width = rng.choice([2, 4, 8])
            number = rng.choice([0, 1, (1 << (8 * width - 1)) - 1, 1 << (8 * width - 1), (1 << (8 * width)) - 1])
            data[place : place + width] = number.to_bytes(width, rng.choice(["little", "big"]))
        elif what == 6:
            other = rng.randrange(len(data)) if data else 0
            size = rng.choice([4, 64, 1024])
            data[place : place + size] = data[other : other + size]
        elif what == 7:
            data[place : place + rng.choice([16, 512])] = bytes(rng.choice([16, 512]))
        else:
            data += rng.randbytes(rng.choice([1, 100]))
    return bytes(data)
