"""The paper's own numbers (§5): facts to set ours beside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class PaperTable:
    """A table as printed: percentages as such, SIM as a cosine.

    A row's name is a preference, target objects first and the background last ("L2,L0"), mixed by
    " + ", with noise as "L2 σ=5,L0"; or in tables 4d and 7 a data set's name.
    """

    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]

    def value(self, row: str, column: str) -> float:
        """The number at ``row`` and ``column``."""
        return self.rows[row][self.columns.index(column)]


@cache
def paper_tables() -> dict[str, PaperTable]:
    """Tables 3a to 7 by name; "6-frame" is the photo frame's MI in the text of §5.6."""
    raw = json.loads((Path(__file__).parent / "paper.json").read_text(encoding="utf-8"))
    return {
        name: PaperTable(
            tuple(table["columns"]), {row: tuple(values) for row, values in table["rows"].items()}
        )
        for name, table in raw["tables"].items()
    }
