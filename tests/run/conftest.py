from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.run.training.step import Trainer

Object = tuple[int, int, Sequence[float]]  # index of the image, label, box


def make(
    objects: Sequence[Object] = ((0, 0, (100, 100, 200, 200)),),
    *,
    images: Sequence[int] = (1,),
    classes: Sequence[str] = ("cat",),
    category_ids: Sequence[int] | None = None,
    annotation_ids: Sequence[int] | None = None,
    crowd: Sequence[bool] | None = None,
    area: Sequence[float] | None = None,
) -> Dataset:
    """A data set without pictures; image ids, not indices, are given in ``images``."""
    count = len(objects)
    boxes = np.array([box for _, _, box in objects], dtype=np.float64).reshape(-1, 4)
    size = boxes[:, 2:] - boxes[:, :2]
    return Dataset(
        name="tiny",
        split="evaluation (val)",
        classes=tuple(classes),
        category_ids=tuple(category_ids or range(1, len(classes) + 1)),
        images=tuple(ImageInfo(image, Path(f"{image}.png"), 640, 480) for image in images),
        boxes=boxes,
        labels=np.array([label for _, label, _ in objects], dtype=np.int64),
        image=np.array([image for image, _, _ in objects], dtype=np.int64),
        area=size.prod(axis=1) if area is None else np.array(area, dtype=np.float64),
        crowd=np.array([False] * count if crowd is None else crowd, dtype=bool),
        annotation_ids=np.array(range(1, count + 1) if annotation_ids is None else annotation_ids, dtype=np.int64),
        repairs=(),
        fingerprint="0" * 64,
        offsets={},
    )


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Dataset]:
    return make


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """``with interrupted(3):`` the training inside is ended by Ctrl-C after three iterations."""

    @contextmanager
    def interrupted(after: int) -> Iterator[None]:
        real, calls = Trainer.update, []

        def update(self: Trainer) -> None:
            calls.append(1)
            if len(calls) > after:
                raise KeyboardInterrupt
            real(self)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "update", update)
            with pytest.raises(KeyboardInterrupt):
                yield

    return interrupted
