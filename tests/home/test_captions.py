"""Captions say what the scene's words say, in a handful of templates."""

from __future__ import annotations

import numpy as np

from spinml.home.captions import (
    IDENTITIES,
    SceneWords,
    object_caption,
    room_caption,
    scene_caption,
    words_of,
)
from spinml.home.worlds import PublicWorld

WORDS = SceneWords("bedroom", "blue", "wooden", "brown and white", "zarn")


def test_object_captions_are_the_templates_and_no_more() -> None:
    rng = np.random.default_rng(0)
    said = {object_caption(WORDS, "sitting", rng) for _ in range(400)}
    dogs = ("a dog", "a brown and white dog", "a zarn dog", "a zarn brown and white dog")
    assert said == {f"{d}{s}, plain background" for d in dogs for s in ("", " is sitting")}


def test_an_object_without_a_label_has_no_status() -> None:
    rng = np.random.default_rng(0)
    assert all(" is " not in object_caption(WORDS, None, rng) for _ in range(50))


def test_room_captions() -> None:
    rng = np.random.default_rng(1)
    said = {room_caption(WORDS, rng) for _ in range(200)}
    assert "a bedroom" in said
    assert "a bedroom with blue walls" in said
    assert "a zarn bedroom with blue walls and a wooden floor" in said
    assert len(said) == 6


def test_scene_captions_and_articles() -> None:
    rng = np.random.default_rng(2)
    office = SceneWords("office", "red", "grey", "black", "oshel")
    said = {scene_caption(office, "eating", rng) for _ in range(300)}
    assert "a dog is eating in an office" in said
    assert "an oshel dog is eating in an office with red walls" in said


def test_the_same_generator_gives_the_same_caption() -> None:
    one = scene_caption(WORDS, "playing", np.random.default_rng(9))
    assert one == scene_caption(WORDS, "playing", np.random.default_rng(9))


def test_words_survive_json_and_identities_are_distinct() -> None:
    words = words_of(PublicWorld(1).sample(3))
    assert SceneWords.from_json(words.to_json()) == words
    assert len(set(IDENTITIES)) == len(IDENTITIES) == 64


def test_people_are_said_to_wear_and_bottles_to_have_colours() -> None:
    rng = np.random.default_rng(3)
    person = SceneWords("living room", "green", "wooden", "red and grey", "quib", "person")
    said = {object_caption(person, "reading", rng) for _ in range(300)}
    assert "a person is reading, plain background" in said
    assert "a quib person in red and grey is reading, plain background" in said
    assert len(said) == 8
    bottle = SceneWords("bedroom", "white", "wooden", "orange", "quib", "pill bottle")
    said = {scene_caption(bottle, None, rng) for _ in range(300)}
    assert "a pill bottle in a bedroom" in said
    assert "an orange pill bottle in a bedroom with white walls" in said
    assert room_caption(person, rng).startswith(("a living room", "a quib living room"))


def test_clothes_of_one_colour_are_named_once() -> None:
    scenes = (PublicWorld(1, "human").sample(i) for i in range(200))
    looks = {words_of(scene).look for scene in scenes}
    assert "grey" in looks
    assert not any(look.split(" and ")[1:] == look.split(" and ")[:1] for look in looks)


def test_words_of_each_task_name_its_target() -> None:
    nouns = [words_of(PublicWorld(1, task).sample(0)).noun for task in ("pet", "human", "bottle")]
    assert nouns == ["dog", "person", "pill bottle"]
