"""The parts of the documentation that are made from the code when the site is built, so that they cannot go stale.

A page asks for such a part by a line ``<!-- from the code: NAME -->``, and the folder ``strategies`` gets a page for
each built-in strategy. Everything here returns Markdown.
"""

import re
from collections.abc import Callable, Mapping

from from_code.fields import fields_of_record, types
from from_code.reference import commands, findings, recipe, recipes
from from_code.strategies import results

MARKER = re.compile(r"^<!-- from the code: ([\w ]+) -->$", flags=re.MULTILINE)

PARTS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "settings of a recipe": recipe,
    "recipes": recipes,
    "findings": findings,
    "fields of a record": fields_of_record,
    "types": types,
    "results of strategies": results,
}


def filled(text: str) -> str:
    """A page with every part that it asks for.

    Raises:
        KeyError: there is no such part.
    """
    return MARKER.sub(lambda found: PARTS[found[1]](), text)
