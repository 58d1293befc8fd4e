"""Did you mean …? One wording for every unknown name, key, option and class."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean atss?"`` when a known word is close, else ``""``; to be appended to a message.

    Dotted keys are also found by their last part: ``lr`` for ``train.lr``.
    """
    whole = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), whole, n=1)
    if not close:
        last = {name.rpartition(".")[2].casefold(): name for name in whole.values()}
        close, whole = get_close_matches(word.rpartition(".")[2].casefold(), last, n=1), last
    return f"; did you mean {whole[close[0]]}?" if close else ""
