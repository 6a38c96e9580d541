"""A small byte-pair vocabulary for CLIPTokenizer that still encodes any prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTokenizer

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
MAX_TOKENS = 32


def build_tokenizer(captions: Iterable[str], merges: int, folder: Path) -> CLIPTokenizer:
    """Learn `merges` merges from captions; all 256 bytes, ending a word or not, are tokens too."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + merges,
        min_frequency=8,
        initial_alphabet=alphabet,
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    learner.train_from_iterator(captions, trainer)
    learned = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    letters = [*alphabet, *(letter + WORD_END for letter in alphabet)]
    names = list(dict.fromkeys([*letters, *map("".join, learned), START, END]))
    tokenizer = CLIPTokenizer(
        vocab={name: number for number, name in enumerate(names)},
        merges=learned,
        model_max_length=MAX_TOKENS,
    )
    tokenizer.save_pretrained(folder)
    _write_slow_files(folder, names, learned)
    return tokenizer


def _write_slow_files(folder: Path, names: Sequence[str], merges: Sequence[Sequence[str]]) -> None:
    """`vocab.json` and `merges.txt`, the layout that Stable Diffusion's checkpoints have."""
    vocabulary = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def encode(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids padded as the diffusion pipelines pad them, shape ``(n, max_length)``."""
    ids = tokenizer(
        list(texts), padding="max_length", truncation=True, max_length=tokenizer.model_max_length
    ).input_ids
    return torch.tensor(ids, dtype=torch.long)
