"""Read the event files of run records with TensorBoard's own reader and compare them with the records.

    pip install -r xtask/pytorch/requirements-tensorboard.txt
    python xtask/pytorch/read_events.py runs/quickstart/*

Every figure of every epoch in metrics.jsonl, and the norms in gradients.json, must be there as a scalar and equal as `float32`; no
scalar may be there that is not in the record. Histograms must count values, and pictures must decode with the size they state.
Exits with 1 and says what differs, if anything does.
"""

import io
import json
import pathlib
import sys

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

TAGS = {
    "train_loss": "train/loss",
    "train_accuracy": "train/accuracy",
    "test_loss": "test/loss",
    "test_accuracy": "test/accuracy",
    "test_top5": "test/top5",
    "lr": "lr",
    "images_per_second": "images_per_second",
}


def expected(folder):
    """What the record says, by tag and step."""
    figures = {}

    def put(tag, step, value):
        # A loss that is not finite is null in the record.
        figures[tag, step] = np.float32(np.nan if value is None else value)

    for line in (folder / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        for key, tag in TAGS.items():
            if key in row:
                put(tag, row["epoch"], row[key])
    # The first row is of the first step alone.
    for row in json.loads((folder / "gradients.json").read_text())[1:]:
        put("gradients/total", row["epoch"], row["total"])
    return figures


def check(folder):
    """What differs, and what was read."""
    # 0: no event is left out.
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    found = {(tag, e.step): np.float32(e.value) for tag in tags["scalars"] for e in events.Scalars(tag)}
    figures = expected(folder)
    wrong = [f"{tag} of epoch {step} is missing" for tag, step in figures.keys() - found.keys()]
    wrong += [f"{tag} of epoch {step} is not in the record" for tag, step in found.keys() - figures.keys()]
    for key in figures.keys() & found.keys():
        if figures[key].tobytes() != found[key].tobytes():
            wrong.append(f"{key[0]} of epoch {key[1]} is {found[key]!r}, in the record {figures[key]!r}")

    histograms = [(tag, e) for tag in tags["histograms"] for e in events.Histograms(tag)]
    for tag, event in histograms:
        values = event.histogram_value
        if values.num < 1 or sum(values.bucket) != values.num or not values.min <= values.max:
            wrong.append(f"histogram {tag} of epoch {event.step}: {values}")
    images = [(tag, e) for tag in tags["images"] for e in events.Images(tag)]
    for tag, event in images:
        size = Image.open(io.BytesIO(event.encoded_image_string)).size
        if size != (event.width, event.height):
            wrong.append(f"picture {tag}: {size}, said to be {event.width} x {event.height}")
    return wrong, f"{len(found)} scalars equal, {len(histograms)} histograms, {len(images)} images"


failed = False
for argument in sys.argv[1:]:
    wrong, read = check(pathlib.Path(argument))
    for line in sorted(wrong):
        print(f"{argument}: {line}", file=sys.stderr)
    failed |= bool(wrong)
    if not wrong:
        print(f"{argument}: {read}")
sys.exit(failed or len(sys.argv) < 2)
