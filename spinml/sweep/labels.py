"""What distinguishes trials, in words and as a name."""

from __future__ import annotations

import hashlib

from spinml.request import DEFAULT_FEATURE, Scheme, TrainingRequest


def members_of(request: TrainingRequest) -> list[dict[str, str]]:
    """The preferences whose data the request mixes, scheme by segment; mostly one."""
    return [
        {name: member.of(name).value for name in request.segments} for member in request.preferences
    ]


def label_of(request: TrainingRequest) -> str:
    """``(L1 soft_edges, L0)``, or ``(L0, L0) + (L2, L0)``: all that distinguishes conditions."""
    labels = []
    for member in members_of(request):
        parts = [_part(request, name, scheme) for name, scheme in member.items()]
        labels.append(f"({', '.join(parts)})")
    return " + ".join(labels)


def _part(request: TrainingRequest, name: str, scheme: str) -> str:
    if scheme == Scheme.L1 and request.feature_of(name) != DEFAULT_FEATURE:
        return f"{scheme} {request.feature_of(name)}"
    if scheme == Scheme.L2 and name in request.noise:
        return f"{scheme} σ={request.noise[name]:g}"
    if scheme == Scheme.L2 and name in request.schemes:
        return f"{scheme} {request.schemes[name]}"
    return scheme


def trial_id(request: TrainingRequest, context: str) -> str:
    """What names a trial: its request, and ``context``, all else that its figures depend on."""
    text = f"{context}\n{request.model_dump_json()}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]
