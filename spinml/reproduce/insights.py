"""The paper's insights (§5.4), and what it finds beside them (§5.1, 5.2, 5.5-5.7), as claims.

Where the paper says "slightly", "significantly" or "not affected", a number has to stand for it.
They are chosen here once, so that the paper's own figures agree with its words.
"""

from __future__ import annotations

from spinml.reproduce.claims import At, Claim, Insight

NO_GAIN = 5.0
"""Points of utility up to which a gain, or a loss, is none to speak of."""
SIGNIFICANT_MI = 10.0
"""Points of MI by which what is shared at L2 rises at least."""
LIMITED = 0.5
"""What is not shared, or shared as L1, rises by at most this share of what L2 makes rise."""
SMALL_MI = 15.0
"""Percent of MI that the sensitive segment may leak when it is held back."""
NEAR_BASELINE = 0.1
"""How far prompt SIM may be above an empty prompt's, as a cosine."""

_NAMES = {"a": "pet", "b": "human", "c": "bottle"}
_SHARED = {"a": "target", "b": "background", "c": "background"}
"""The less sensitive segment of each task (captions of table 4)."""
_SENSITIVE = {"a": "background", "b": "target", "c": "target"}
_AT_L1 = {"a": "L1,L0", "b": "L0,L1", "c": "L0,L1"}
_AT_L2 = {"a": "L2,L0", "b": "L0,L2", "c": "L0,L2"}
"""The less sensitive segment shared as L1 or L2, the other at L0."""
_TRADE = {"a": "L2,L0", "b": "L0,L2", "c": "L1,L2"}
"""The trade that §5.3 advises, or (bottle) figures 3i-3l show."""
_BACKGROUNDS = ("L0", "L1", "L2")


def _real(task: str, row: str) -> At:
    return At(f"3{task}", row, "real")


def _more(says: str, one: At, other: At) -> Claim:
    return Claim(says, ((1, one), (-1, other)))


def _at_most(says: str, one: At, other: At, limit: float) -> Claim:
    return Claim(says, ((1, one), (-1, other)), limit, at_most=True)


def _rises(task: str) -> list[Claim]:
    """L2 raises the leakage of what it shares a lot, L1 a little."""
    column, name = f"MI {_SHARED[task]}", _NAMES[task]
    l0, l1, l2 = (At(f"4{task}", row, column) for row in ("L0,L0", _AT_L1[task], _AT_L2[task]))
    return [
        Claim(
            f"{name}: L2 raises {column} significantly (over {SIGNIFICANT_MI:g} points)",
            ((1, l2), (-1, l0)),
            SIGNIFICANT_MI,
        ),
        Claim(
            f"{name}: L1 raises {column} slightly (at most {LIMITED:.0%} of L2's rise)",
            ((1, l1), (-LIMITED, l2), (LIMITED - 1, l0)),
            at_most=True,
        ),
    ]


def _spares_the_other(task: str, measure: str) -> Claim:
    """Sharing one segment leaves the other's leakage nearly as it was."""
    own, other = f"{measure} {_SHARED[task]}", f"{measure} {_SENSITIVE[task]}"
    table, after = f"4{task}", _AT_L2[task]
    return Claim(
        f"{_NAMES[task]}: L2 of the {_SHARED[task]} raises {other} by at most {LIMITED:.0%} of "
        f"what it raises {own}",
        (
            (1, At(table, after, other)),
            (-1, At(table, "L0,L0", other)),
            (-LIMITED, At(table, after, own)),
            (LIMITED, At(table, "L0,L0", own)),
        ),
        at_most=True,
    )


def _first() -> Insight:
    claims = [
        _more(
            f"{_NAMES[task]}: ({_AT_L2[task]}) is more useful than (L0,L0)",
            _real(task, _AT_L2[task]),
            _real(task, "L0,L0"),
        )
        for task in _NAMES
    ]
    for task in _NAMES:
        claims += _rises(task)
        claims += [_spares_the_other(task, measure) for measure in ("MI", "SIM")]
    return Insight(
        "Insight 1: L0 → L2 may increase utility with limited privacy decrease", tuple(claims)
    )


def _second() -> Insight:
    useless = [("a", "L1,L0", "L0,L0")]
    useless += [("b", f"L1,{behind}", f"L0,{behind}") for behind in _BACKGROUNDS]
    claims = [
        _at_most(
            f"{_NAMES[task]}: L1 of the target, unlabelled, gains nothing to speak of: ({one}) at "
            f"most {NO_GAIN:g} points above ({other})",
            _real(task, one),
            _real(task, other),
            NO_GAIN,
        )
        for task, one, other in useless
    ]
    claims += [
        _more(
            f"bottle: L1 of the target gains: (L1,{behind}) above (L0,{behind})",
            _real("c", f"L1,{behind}"),
            _real("c", f"L0,{behind}"),
        )
        for behind in _BACKGROUNDS
    ]
    return Insight(
        "Insight 2: whether L1 offers a utility gain depends on the application", tuple(claims)
    )


def _third() -> Insight:
    claims = []
    for task, name in _NAMES.items():
        trade, sensitive = _TRADE[task], _SENSITIVE[task]
        claims += [
            _more(
                f"{name}: ({trade}) trades for utility: above (L0,L0)",
                _real(task, trade),
                _real(task, "L0,L0"),
            ),
            _at_most(
                f"{name}: holding the {sensitive} back costs at most {NO_GAIN:g} points: (L2,L2) "
                f"against ({trade})",
                _real(task, "L2,L2"),
                _real(task, trade),
                NO_GAIN,
            ),
            Claim(
                f"{name}: the {sensitive}, held back, leaks little (MI at most {SMALL_MI:g} %)",
                ((1, At(f"4{task}", trade, f"MI {sensitive}")),),
                SMALL_MI,
                at_most=True,
            ),
        ]
    return Insight(
        "Insight 3: users can trade between privacy and utility differently for different "
        "applications",
        tuple(claims),
    )


def _mixture() -> Insight:
    mixed = _real("a", "L0,L0 + L2,L0")
    return Insight(
        "§5.1: mixing data of two preferences mitigates overfitting",
        tuple(
            _more(f"pet: (L0,L0) + (L2,L0) is above ({alone})", mixed, _real("a", alone))
            for alone in ("L0,L0", "L2,L0")
        ),
    )


def _prompts() -> Insight:
    claims = [
        _at_most(
            f"{dataset}, {segment}: prompts at most {NEAR_BASELINE:g} above an empty one",
            At("4d", dataset, f"{segment} SpinML"),
            At("4d", dataset, f"{segment} baseline"),
            NEAR_BASELINE,
        )
        for dataset in ("husky", "human", "bottle")
        for segment in ("target", "background")
    ]
    return Insight("§5.2: text prompts leak little", tuple(claims))


def _noise() -> Insight:
    rows = [f"L2 σ={sigma},L0" for sigma in (5, 10, 50)]
    accuracy = [
        _more(f"pet: words alone are above ({row})", At("5", "L0,L0", "real"), At("5", row, "real"))
        for row in rows
    ]
    leak = [At("5", row, "MI target") for row in rows]
    return Insight(
        "§5.5: noise costs utility without a privacy gain over L0",
        (
            *accuracy,
            _more("pet: more noise leaks less (σ = 5 against 50)", leak[0], leak[-1]),
            _more(
                "pet: even σ = 50 leaks more than words", leak[-1], At("5", "L0,L0", "MI target")
            ),
        ),
    )


def _objects() -> Insight:
    claims = [
        _more(
            f"L1 of the bottle gains: (L1,{frame},{behind}) above (L0,{frame},{behind})",
            At("6", f"L1,{frame},{behind}", "real"),
            At("6", f"L0,{frame},{behind}", "real"),
        )
        for frame in ("L0", "L1")
        for behind in _BACKGROUNDS
    ]
    claims.append(
        _more(
            "the background at L2 gains with both objects at L0",
            At("6", "L0,L0,L2", "real"),
            At("6", "L0,L0,L0", "real"),
        )
    )
    claims.append(
        Claim(
            f"the photo frame leaks little at L1 (MI at most {SMALL_MI:g} %)",
            ((1, At("6-frame", "L0,L1,L0", "MI photo frame")),),
            SMALL_MI,
            at_most=True,
        )
    )
    return Insight("§5.6: with two objects, each is traded on its own", tuple(claims))


def _generic() -> Insight:
    claims = [
        _more(
            f"{name}: a specialised model of words alone is above the generic one",
            _real(task, "L0,L0"),
            At("7", dataset, "real"),
        )
        for (task, name), dataset in zip(_NAMES.items(), ("husky", "human", "bottle"), strict=True)
    ]
    return Insight("§5.7: a generic model is not enough", tuple(claims))


INSIGHTS = (_first(), _second(), _third())
"""§5.4."""
FINDINGS = (_mixture(), _prompts(), _noise(), _objects(), _generic())
