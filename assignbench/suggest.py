"""Did you mean …? One wording for every unknown name, key, option and class."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean atss?"`` when a known word is close, else ``""``; to be appended to a message.

    Of a dotted key whose group is known the last part alone is looked at, first within the group, then in all: ``lr``
    and ``data.lr`` find ``train.lr``.
    """
    whole = {name.casefold(): name for name in known}
    group, _, last = word.casefold().rpartition(".")
    ends = {name: name.rpartition(".")[2] for name in whole}
    own = {ends[name]: full for name, full in whole.items() if group and name.rpartition(".")[0] == group}
    anywhere = {ends[name]: full for name, full in whole.items()}
    for wanted, names in ((last, own) if own else (word.casefold(), whole), (last, anywhere)):
        if close := get_close_matches(wanted, names, n=1):
            return f"; did you mean {names[close[0]]}?"
    return ""
