"""The persons of a synthetic game: two teams in their kits, goalkeepers, referees and staff, and how each looks."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from reid.synthetic.skeleton import Colour, Kit, Look

T = TypeVar("T")

# RGB.
COLOURS: dict[str, Colour] = {
    "red": (0.80, 0.08, 0.10),
    "claret": (0.45, 0.07, 0.15),
    "royal": (0.10, 0.20, 0.68),
    "navy": (0.07, 0.09, 0.28),
    "sky": (0.50, 0.75, 0.93),
    "white": (0.93, 0.93, 0.93),
    "black": (0.08, 0.08, 0.09),
    "yellow": (0.96, 0.84, 0.10),
    "orange": (0.95, 0.45, 0.06),
    "green": (0.05, 0.42, 0.20),
    "lime": (0.65, 0.88, 0.15),
    "purple": (0.38, 0.16, 0.55),
    "pink": (0.95, 0.42, 0.62),
    "turquoise": (0.06, 0.62, 0.62),
    "grey": (0.52, 0.53, 0.55),
}
_BRIGHT = ("yellow", "orange", "lime", "pink", "turquoise", "red", "royal", "purple")
_PATTERNS = ("plain", "stripes", "pinstripes", "hoops", "band", "halves", "sash")
_SKINS = (
    (0.96, 0.80, 0.70),
    (0.91, 0.71, 0.58),
    (0.82, 0.60, 0.44),
    (0.66, 0.44, 0.30),
    (0.48, 0.30, 0.20),
    (0.32, 0.19, 0.13),
)
_FAIR_HAIR = (
    (0.07, 0.05, 0.05),
    (0.20, 0.12, 0.07),
    (0.36, 0.22, 0.11),
    (0.58, 0.42, 0.22),
    (0.85, 0.70, 0.40),
    (0.62, 0.26, 0.10),
    (0.55, 0.54, 0.53),
)
_DARK_HAIR = ((0.06, 0.05, 0.05), (0.10, 0.07, 0.06), (0.16, 0.10, 0.07), (0.88, 0.78, 0.50))
_KEEPER_NUMBERS = (1, 12, 13, 22)
_HAIRS = ("bald", "buzz", "short", "fringe", "mohawk", "afro", "long", "bun", "ponytail")


class Person(NamedTuple):
    look: Look
    kit: Kit
    clazz: str  # without the side of the team
    team: int | None  # 0 or 1


def pick(rng: np.random.Generator, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
    """One of ``items``, with probabilities in proportion to ``weights``."""
    if weights is None:
        return items[int(rng.integers(len(items)))]
    edges = np.cumsum(weights)
    return items[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]


def _apart(rng: np.random.Generator, names: Sequence[str], taken: Sequence[Colour], least: float = 0.5) -> Colour:
    """A colour of ``names`` at least this far (RGB distance) from those taken, or the farthest."""
    gaps = {n: min((math.dist(COLOURS[n], c) for c in taken), default=9.0) for n in names}
    far = [n for n in names if gaps[n] >= least] or [max(names, key=lambda n: gaps[n])]
    return COLOURS[pick(rng, far)]


def _legible_on(colour: Sequence[float]) -> Colour:
    return COLOURS["white"] if sum(colour) < 1.4 else COLOURS["black"]


def _kit(rng: np.random.Generator, shirt: Colour, patterns: Sequence[str] = _PATTERNS) -> Kit:
    """A kit around one colour."""
    names = list(COLOURS)
    pattern = pick(rng, patterns, [4, 2, 1, 1.5, 1, 1, 1][: len(patterns)])
    second = _apart(rng, ["white", "black", *names], [shirt], 0.6)
    accent = pick(rng, [shirt, second])
    shorts = pick(rng, [shirt, second, COLOURS["white"], COLOURS["black"]])
    socks = pick(rng, [shirt, shorts, second])
    ink = _legible_on(
        shirt if pattern in ("plain", "sash") else tuple((a + b) / 2 for a, b in zip(shirt, second, strict=True))
    )
    sleeve = second if rng.random() < 0.2 else shirt
    return Kit(shirt, second, pattern, sleeve, accent, shorts, socks, accent, ink, False, bool(rng.random() < 0.4))


def _look(rng: np.random.Generator, number: int | None = None, keeper: bool = False, official: bool = False) -> Look:
    """A person, told from his team mates by build, skin, hair, boots and the small things he wears."""
    colours = list(COLOURS.values())
    bright = [COLOURS[name] for name in _BRIGHT]
    tone = pick(rng, range(6), [0.2, 0.25, 0.2, 0.12, 0.11, 0.12])
    (red, green, blue), shade = _SKINS[tone], rng.uniform(0.93, 1.07)
    hair = pick(rng, _HAIRS, [1, 1.6, 3, 1.6, 0.5, 0.9 if tone > 2 else 0.2, 0.7, 0.5, 0.5])

    def maybe(chance: float, choices: Sequence[Colour]) -> Colour | None:
        return pick(rng, choices) if rng.random() < chance else None

    base = [COLOURS["black"], COLOURS["white"]]
    return Look(
        height=float(np.clip(rng.normal(1.81 + 0.07 * keeper, 0.065), 1.64, 2.0)),
        girth=float(np.clip(rng.normal(1.03 + 0.04 * official, 0.075), 0.86, 1.25)),
        legs=float(rng.uniform(0.465, 0.505)),
        skin=(min(red * shade, 1.0), min(green * shade, 1.0), min(blue * shade, 1.0)),
        hair=hair,
        hair_colour=pick(
            rng, _FAIR_HAIR if tone < 3 else _DARK_HAIR, [3, 3, 2, 1.2, 1, 0.6, 0.4][: 7 if tone < 3 else 4]
        ),
        beard=pick(rng, (0.0, 0.45, 0.9), [3, 1, 1]),
        headband=None if official else maybe(0.08, colours),
        boots=COLOURS["black"] if official else pick(rng, [*bright, *base], [1] * len(bright) + [2, 2]),
        long_sleeves=bool(rng.random() < (0.85 if keeper else 0.28)),
        underlayer=None if official else maybe(0.15, [*base, *base, *bright]),
        leggings=None if official else maybe(0.12, [*base, *bright]),
        sock_height=pick(rng, (0.95, 0.85, 0.6), [3, 2, 1]),
        tape=None if official else maybe(0.2, [*base, *bright]),
        wristbands=(maybe(0.15, colours), maybe(0.15, colours)),
        gloves=pick(rng, [*base, *bright]) if keeper else None if official else maybe(0.06, base),
        armband=None,
        number=number,
        name="".join(pick(rng, "AEIOULNRSTMKBDGV") for _ in range(int(rng.integers(4, 10)))),
    )


def make_cast(rng: np.random.Generator) -> list[Person]:
    """All persons of a game: per team a goalkeeper and ten players, then referees and staff."""
    everything = list(COLOURS)
    shirts: list[Colour] = []
    cast: list[Person] = []
    for team in (0, 1):
        shirts.append(_apart(rng, [n for n in everything if n not in ("lime", "grey")], shirts, 0.65))
        kit = _kit(rng, shirts[team])
        if team == 1 and kit.pattern != "plain" and math.dist(kit.second, shirts[0]) < 0.4:
            kit = kit._replace(pattern="plain", sleeve=kit.shirt)
        numbers = rng.permutation(np.setdiff1d(np.arange(2, 35), _KEEPER_NUMBERS))[:10].tolist()
        players = [_look(rng, number) for number in numbers]
        captain = int(rng.integers(10))
        players[captain] = players[captain]._replace(armband=_apart(rng, everything, [kit.sleeve], 0.8))
        cast += [Person(look, kit, "Player", team) for look in players]
    for team in (0, 1):
        shirt = _apart(rng, (*_BRIGHT, "grey", "black", "green"), shirts)
        shirts.append(shirt)
        kit = _kit(rng, shirt, _PATTERNS[:1])
        kit = kit._replace(shorts=pick(rng, [shirt, COLOURS["black"]]), socks=shirt)
        look = _look(rng, pick(rng, _KEEPER_NUMBERS, [3, 1, 1, 1]), keeper=True)
        cast.append(Person(look, kit, "Goalkeeper", team))
    black, white = COLOURS["black"], COLOURS["white"]
    shirt = _apart(rng, ("black", "yellow", "lime", "turquoise", "red"), shirts, 0.45)
    kit = Kit(shirt, white, "plain", shirt, black, black, black, pick(rng, [black, white]), black)
    for clazz, count in (("Main_referee", 1), ("Side_referee", 2)):
        cast += [Person(_look(rng, official=True), kit, clazz, None) for _ in range(count)]
    for _ in range(4):
        look = _look(rng, official=True)._replace(long_sleeves=True, beard=pick(rng, (0.0, 0.9)))
        cast.append(Person(look, _clothes(rng, shirts), "Staff_members", None))
    return cast


def _clothes(rng: np.random.Generator, shirts: Sequence[Colour]) -> Kit:
    """What staff wear: a suit, a tracksuit or a bib over one."""
    black, white = COLOURS["black"], COLOURS["white"]
    dark = pick(rng, [black, COLOURS["navy"], COLOURS["grey"]])
    kind = pick(rng, ("suit", "plain", "bib"))
    if kind == "suit":
        return Kit(dark, pick(rng, shirts), "suit", dark, white, dark, dark, dark, white, trousers=True)
    coat = pick(rng, [dark, shirts[0], shirts[1]])
    shirt = COLOURS[pick(rng, _BRIGHT)] if kind == "bib" else coat
    return Kit(shirt, white, kind, coat, coat, dark, dark, dark, _legible_on(shirt), trousers=True)
