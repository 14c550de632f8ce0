"""Pictures with COCO instance annotations, augmented into training samples: a function of (seed, index) alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask

from mkpose_ros.errors import InputError
from mkpose_ros.segmentation.annotations import coco_files, depth_beside, pictures_root
from mkpose_ros.segmentation.maskrcnn.augment import degrade, faded, random_view, relief_of_view, view_of
from mkpose_ros.segmentation.maskrcnn.config import MaskRcnnConfig, SegmenterTrainConfig
from mkpose_ros.segmentation.maskrcnn.losses import Truth
from mkpose_ros.segmentation.relief import no_relief
from mkpose_ros.types import CameraIntrinsics

__all__ = ["CocoPictures", "TrainingSamples", "collate"]

_LEAST_LEFT = 0.25  # of an object that the view or a pasted thing cuts: of less nobody could say what it is


@dataclass(frozen=True)
class _Record:
    file: Path
    height: int
    width: int
    objects: tuple[tuple[str, dict | list], ...]  # category name and COCO segmentation


class CocoPictures:
    """The annotated pictures of some folders. Raises InputError when there are none."""

    def __init__(self, folders: tuple[str, ...], categories: tuple[str, ...]) -> None:
        self._categories = categories
        self._records = [record for f in folders for file in coco_files(Path(f)) for record in _read(file)]
        if not self._records:
            raise InputError(
                f"{', '.join(folders) or 'no folder'}: no COCO annotations; write some with `mkpose synth`"
            )
        self._showing = [[] for _ in categories]  # the pictures that show an object of each category
        self.counts = np.zeros(len(categories), np.int64)  # objects of each category
        for index, record in enumerate(self._records):
            labels = [categories.index(name) for name, _ in record.objects if name in categories]
            np.add.at(self.counts, labels, 1)
            for label in set(labels):
                self._showing[label].append(index)

    def __len__(self) -> int:
        return len(self._records)

    def draw_evenly(self, rng: np.random.Generator) -> int:
        """A picture that shows an object of a category, all categories being drawn equally often."""
        present = np.flatnonzero(self.counts)
        return int(rng.choice(self._showing[rng.choice(present)])) if len(present) else int(rng.integers(len(self)))

    def load(self, index: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
        """The picture (H, W, 3) uint8 R G B, its instance ids (H, W) uint8 with 0 the background, and the label of
        each id from 1 on, -1 for a class that is not trained."""
        record = self._records[index]
        bgr = cv2.imread(str(record.file), cv2.IMREAD_COLOR)
        if bgr is None:
            raise InputError(f"{record.file}: missing or damaged; remove it from its annotations or write it again")
        ids = np.zeros(bgr.shape[:2], np.uint8)
        labels = []
        for name, segmentation in record.objects[:255]:
            labels.append(self._categories.index(name) if name in self._categories else -1)
            ids[_decode(segmentation, record.height, record.width)] = len(labels)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), ids, labels

    def shape(self, index: int) -> tuple[int, int]:
        """The picture's height and width."""
        return self._records[index].height, self._records[index].width

    def depth(self, index: int) -> tuple[np.ndarray, CameraIntrinsics] | None:
        """What `depth_beside` finds of the picture."""
        return depth_beside(self._records[index].file)


class TrainingSamples(torch.utils.data.Dataset):
    """Sample i of an endless stream: ((3, H, W) uint8 image, (7, H, W) for a network that sees relief, Truth)."""

    def __init__(self, model: MaskRcnnConfig, train: SegmenterTrainConfig, seed: int, length: int) -> None:
        self._model, self._train, self._seed, self._length = model, train, seed, length
        self._size = model.input_height, model.input_width
        self._pictures = CocoPictures(train.data, model.categories)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Truth]:
        rng = np.random.default_rng([self._seed, index])
        picture = self._in_turn(index)
        transform = self._transform(picture, rng)
        image, ids, labels, whole_px = self._view(picture, transform)
        pasted = rng.random() < self._train.paste_probability
        if pasted:
            other = self._pictures.draw_evenly(rng)
            other = self._view(other, self._transform(other, rng))[:3]
            labels = _paste(image, ids, labels, other, 1.0 / np.maximum(self._pictures.counts, 1), rng)
        image = degrade(image, rng)
        if self._model.relief:
            # What is pasted stands nowhere: such a picture has no depth, like one of a plain camera.
            kept = not pasted and rng.random() >= self._train.depth_drop
            if kept and rng.random() < self._train.colour_drop:
                image = faded(image, rng)
            image = np.dstack([image, self._relief(picture, transform, rng) if kept else no_relief(*self._size)])
        least_px = np.full(len(labels), float(self._train.min_object_px))
        least_px[: len(whole_px)] = np.maximum(least_px[: len(whole_px)], _LEAST_LEFT * whole_px)
        truth = make_truth(ids, labels, least_px)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), truth

    def _in_turn(self, index: int) -> int:
        """The picture of sample `index`: all of them once an epoch, in an order of its own."""
        epoch, position = divmod(index, len(self._pictures))
        return int(np.random.default_rng([self._seed, epoch]).permutation(len(self._pictures))[position])

    def _transform(self, picture: int, rng: np.random.Generator) -> np.ndarray:
        return random_view(self._pictures.shape(picture), self._size, self._train.scale_range, rng)

    def _view(self, picture: int, transform: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int], np.ndarray]:
        """Image, ids and labels of a view, and how many pixels each object would have if the view cut none."""
        image, ids, labels = self._pictures.load(picture)
        whole_px = np.bincount(ids.ravel(), minlength=len(labels) + 1)[1:] * abs(np.linalg.det(transform[:, :2]))
        return *view_of(image, ids, transform, self._size), labels, whole_px

    def _relief(self, picture: int, transform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        measured = self._pictures.depth(picture)
        return no_relief(*self._size) if measured is None else relief_of_view(*measured, transform, self._size, rng)


def make_truth(ids: np.ndarray, labels: list[int], least_px: np.ndarray) -> Truth:
    """What is to be found in an image with these instance ids (H, W); things without a label or with fewer pixels than
    `least_px` (n,) asks of each are ignored."""
    boxes, kept, masks, ignored = [], [], [], []
    for value, label in enumerate(labels, start=1):
        mask = (ids == value).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        if w == 0 or h == 0:
            continue
        if label < 0 or np.count_nonzero(mask) < least_px[value - 1]:
            ignored.append([x, y, x + w, y + h])
            continue
        boxes.append([x, y, x + w, y + h])
        kept.append(label)
        masks.append(mask)
    return Truth(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(kept, dtype=torch.int64),
        torch.from_numpy(np.stack(masks)) if masks else torch.zeros((0, *ids.shape), dtype=torch.uint8),
        torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
    )


def collate(samples: list[tuple[torch.Tensor, Truth]]) -> tuple[torch.Tensor, list[Truth]]:
    """A batch: (B, 3, H, W) uint8 images and their truths."""
    return torch.stack([image for image, _ in samples]), [truth for _, truth in samples]


def _paste(
    image: np.ndarray, ids: np.ndarray, labels: list[int], other: tuple[np.ndarray, np.ndarray, list[int]],
    weights: np.ndarray, rng: np.random.Generator,
) -> list[int]:  # fmt: skip
    """Paste some of the other picture's objects over this one, in place; returns the labels of all ids.

    Objects are drawn by the weights of their categories (K,).
    """
    other_image, other_ids, other_labels = other
    present = [v for v in np.unique(other_ids).tolist() if v > 0 and other_labels[v - 1] >= 0]
    count = min(len(present), int(rng.integers(1, 7)), 255 - len(labels))
    chances = weights[[other_labels[v - 1] for v in present]]
    for value in rng.choice(present, count, replace=False, p=chances / chances.sum()) if count else ():
        seen = other_ids == value
        image[seen] = other_image[seen]
        labels = [*labels, other_labels[value - 1]]
        ids[seen] = len(labels)
    return labels


def _read(file: Path) -> list[_Record]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        objects: dict[int, list] = {entry["id"]: [] for entry in content["images"]}
        for entry in content["annotations"]:
            objects[entry["image_id"]].append((names[entry["category_id"]], entry["segmentation"]))
        root = pictures_root(file)
        return [
            _Record(root / entry["file_name"], entry["height"], entry["width"], tuple(objects[entry["id"]]))
            for entry in content["images"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: {error!r}; expected COCO instance annotations") from error


def _decode(segmentation: dict | list, height: int, width: int) -> np.ndarray:
    """A COCO polygon list, uncompressed or compressed run lengths, as a (height, width) bool mask."""
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.decode([segmentation])[:, :, 0].astype(bool)  # a list spares a NumPy 2 deprecation in decode
