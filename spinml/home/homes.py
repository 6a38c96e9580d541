"""The private homes of the three tasks."""

from __future__ import annotations

from spinml.home.private import PrivateHome
from spinml.home.private_bottle import BottleHome
from spinml.home.private_human import HumanHome
from spinml.home.private_pet import PetHome
from spinml.home.tasks import task

_HOMES: tuple[type[PrivateHome], ...] = (PetHome, HumanHome, BottleHome)


def private_home(task_name: str, name: str, seed: int) -> PrivateHome:
    """The private home ``name`` of a task; every seed is another subject in another room."""
    task(task_name)
    return next(kind for kind in _HOMES if kind.task == task_name)(name, seed)
