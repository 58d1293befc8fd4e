"""How the words around a table speak of what it compares: runs, of which much is known, or files, of which nothing is.

``{seeds}`` stands for a list as "0, 1, 2", ``{told}`` for one list a row.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The sentences that differ."""

    seed: str  # what the interval is an interval over, of one seed
    seeds: str  # of several
    networks: str  # whose difference it is when seeds have no part
    alone: str  # why nothing is known of any error
    nothing: str  # why nothing is decided of strategies
    few: str  # why there is no verdict
    common: str  # what ‡ says where two rows have one seed in common
    fixed: str  # what the difference holds
    unequal: str  # rows whose seeds differ
    paired: str  # over which seeds a difference is paired


RUNS = Words(
    seed="seed {seeds}",
    seeds="seeds {seeds}",
    networks="of the networks trained with {seeds}, not of the strategies",
    alone="One seed says nothing of its error, and the pictures have no part: no matches are kept, or set was asked.",
    nothing="Of strategies nothing is decided: that takes three seeds and another question.",
    few="No verdict: it takes three seeds that both rows have.",
    common="one seed in common: of these two networks, not of the strategies.",
    fixed="The training data and the recipe are fixed: nothing is said of others.",
    unequal="the strategies were run with different seeds ({told})",
    paired="paired over seeds {seeds} only",
)
FILES = Words(
    seed="file {seeds} of each row",
    seeds="files {seeds} of each row as its seeds",
    networks="of exactly these detections files, not of the strategies behind them",
    alone="One file of each row says nothing of other seeds; what it can answer is the question networks.",
    nothing="Of strategies nothing is decided: that takes three files of each, one for each seed, and another "
    "question than networks.",
    few="No verdict: it takes three files of both rows, one for each seed.",
    common="one file in common: of these two files, not of the strategies.",
    fixed="How the files were made is not known: other training data or another recipe is part of the difference.",
    unequal="the rows have different numbers of files (counted from 0: {told})",
    paired="paired over files {seeds} only",
)
