"""A YAML file that has to fit a model; what does not is told with its place, its value and what is allowed there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from assignbench.errors import UsageError
from assignbench.problems import problems_of
from assignbench.strict_yaml import read_yaml

Model = TypeVar("Model", bound=BaseModel)


def load_document(file: Path, model: type[Model]) -> Model:
    """Read a file.

    Raises:
        UsageError: it cannot be read, or does not fit: a line for each problem.
    """
    return fitted(read_yaml(file), model, str(file))


def fitted(content: object, model: type[Model], where: str) -> Model:
    """What was read of a file, as the model; a number is a number, neither true nor "1" is one.

    Raises:
        UsageError: it does not fit; a line for each problem, each with ``where``.
    """
    if not isinstance(content, Mapping):
        raise UsageError(f"{where}: a mapping is needed, with {', '.join(model.model_fields)}")
    try:
        return model.model_validate_json(json.dumps(content), strict=True)  # a list may be a tuple, and text a path
    except ValidationError as error:
        problems = problems_of(error, content, model)
    raise UsageError("\n".join(f"{where}: {problem.sentence()}" for problem in problems))
