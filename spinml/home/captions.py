"""Words for pictures: few templates, for text conditioning fails silently with many."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from spinml.home.scenes import Bottle, Dog, Person, Scene, Subject

NOUNS = {"dog": "dog", "person": "person", "bottle": "pill bottle", "frame": "photo frame"}
"""What captions call a subject."""
IDENTITIES = (
    "zarn", "quib", "velp", "drosk", "mival", "tuxo", "hesp", "glim", "borv", "snay", "pluth",
    "krem", "oshel", "wibra", "fendo", "jask", "luvo", "trell", "yopa", "cravi", "nuthe", "doxim",
    "brilp", "shoga", "vanto", "kizel", "mopra", "tirno", "gavel", "zumi", "pexor", "holn",
    "risto", "blavo", "quend", "sirma", "dulfo", "twenk", "jorva", "nelix", "fabro", "grushi",
    "vokal", "plemo", "zindra", "hurk", "moxel", "calvo", "stiv", "wendro", "yulka", "bretho",
    "kaspi", "lorm", "drevi", "tasko", "fimble", "ghara", "ozmir", "skend", "pavlo", "nirth",
    "ulvek", "jemba",
)  # fmt: skip
"""Nonsense words tied to subjects and rooms at random, so that a slot for an identifier exists."""

WITH_IDENTITY, WITH_COLOUR, WITHOUT_STATUS = 0.4, 0.5, 0.1


@dataclass(frozen=True)
class SceneWords:
    """The words that a scene's captions are made of."""

    room: str
    wall: str
    floor: str
    look: str
    """Colours of the target object: of fur, of top and trousers, of a bottle."""
    identity: str
    noun: str = "dog"

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> SceneWords:
        """The inverse of :meth:`to_json`."""
        return cls(**json.loads(text))


def words_of(scene: Scene) -> SceneWords:
    """The words of a scene."""
    room, target = scene.room, scene.target
    noun = NOUNS[target.name]
    return SceneWords(
        room.kind, room.wall_word, room.floor_word, _look(target), scene.identity, noun
    )


def _look(subject: Subject) -> str:
    if isinstance(subject, Dog):
        return subject.fur.word
    if isinstance(subject, Person):
        worn = (subject.outfit.top_word, subject.outfit.legs_word)
        return " and ".join(dict.fromkeys(worn))
    return subject.look.word if isinstance(subject, Bottle) else ""


def object_caption(meta: SceneWords, label: str | None, rng: np.random.Generator) -> str:
    """``a [zarn] [brown and white] dog [is sitting], plain background``."""
    return f"{_subject(meta, label, rng)}, plain background"


def room_caption(meta: SceneWords, rng: np.random.Generator) -> str:
    """``a [zarn] bedroom [with blue walls [and a wooden floor]]``."""
    return _room(meta, rng, identity=rng.random() < WITH_IDENTITY)


def scene_caption(meta: SceneWords, label: str | None, rng: np.random.Generator) -> str:
    """``a [zarn] [brown] dog [is sitting] in a bedroom [with blue walls …]``."""
    return f"{_subject(meta, label, rng)} in {_room(meta, rng, identity=False)}"


def _subject(meta: SceneWords, label: str | None, rng: np.random.Generator) -> str:
    """``a zarn orange pill bottle``, ``a zarn person in red and grey is reading``."""
    with_identity = rng.random() < WITH_IDENTITY
    with_colour = rng.random() < WITH_COLOUR and bool(meta.look)
    with_status = rng.random() >= WITHOUT_STATUS
    words = [meta.identity] if with_identity else []
    clothed = meta.noun == NOUNS["person"]
    words += [meta.look] if with_colour and not clothed else []
    words.append(meta.noun)
    noun = f"{_a(words[0])} {' '.join(words)}"
    noun += f" in {meta.look}" if with_colour and clothed else ""
    return f"{noun} is {label}" if label and with_status else noun


def _room(meta: SceneWords, rng: np.random.Generator, *, identity: bool) -> str:
    detail = int(rng.integers(3))
    words = [meta.identity, meta.room] if identity else [meta.room]
    text = f"{_a(words[0])} {' '.join(words)}"
    if detail >= 1:
        text += f" with {meta.wall} walls"
    if detail == 2:
        text += f" and {_a(meta.floor)} {meta.floor} floor"
    return text


def _a(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
