"""Compare what pyarrow and Hugging Face's datasets read of packed pictures with the folder that they were packed from, and Tallow's
reading of what `datasets` writes with the same.

    pip install -r xtask/pytorch/requirements-packed.txt
    python xtask/pytorch/check_packed.py target/release/tallow pictures

`pictures` has folders of classes, or of splits with folders of classes. Packs it into shards in a temporary folder. pyarrow must find
every file once, with its bytes, its path and the label of its class; `datasets` the same with its own features, decoded by Pillow, and the splits
by the names of the files. Then
`datasets` writes the rows again, with its own row groups and pages, and `tallow data info` must count as many pictures of each class as there
are files. Without `datasets` only pyarrow's part is done. Exits with 1 and says what differs, if anything does.
"""

import collections
import pathlib
import subprocess
import sys
import tempfile

import pyarrow.parquet as pq

TALLOW, FOLDER = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
# Hidden files and those with the extension of no picture are left out.
EXTENSIONS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
NAMES = {"train": "train", "test": "test", "val": "validation", "valid": "validation", "validation": "validation"}


def tallow(*args):
    """Standard output of the program, which must end well."""
    return subprocess.run([TALLOW, *map(str, args)], check=True, capture_output=True, text=True).stdout


def files(folder):
    """Bytes of every picture below a folder of classes, by its path in it."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS)
    found = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def same(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {str(found)[:500]}\nexpected {str(expected)[:500]}")


def check(split, shards, expected, folder):
    """One split: pyarrow's rows, then those of `datasets`."""
    rows = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    metadata = pq.read_schema(shards[0]).metadata
    same(f"{split}: metadata", b"huggingface" in metadata, True)
    same(f"{split}: files", sorted(row["image"]["path"] for row in rows), sorted(expected))
    for row in rows:
        path = row["image"]["path"]
        same(f"{split}: bytes of {path}", row["image"]["bytes"], expected[path])
    classes = sorted({path.split("/")[0] for path in expected})
    try:
        import datasets
    except ImportError:
        print(f"{split}: {len(rows)} rows; SKIPPED datasets, which is not installed")
        return
    read = datasets.load_dataset("parquet", data_files=[str(s) for s in shards], split="train", cache_dir=f"{folder}/cache")
    same(f"{split}: class of the image", type(read.features["image"]).__name__, "Image")
    names = read.features["label"].names
    same(f"{split}: names of the classes", set(classes) <= set(names), True)
    stored = read.cast_column("image", datasets.Image(decode=False))
    for row in stored:
        path = row["image"]["path"]
        same(f"{split}: class of {path}", names[row["label"]], path.split("/")[0])
    for row in read.select(range(min(20, len(read)))):
        row["image"].convert("RGB")
    again = pathlib.Path(folder) / f"again-{split}"
    again.mkdir()
    read.to_parquet(str(again / "train-00000-of-00001.parquet"))
    text = tallow("data", "info", f"parquet:{again}")
    counts = collections.Counter(path.split("/")[0] for path in expected)
    for name in classes:
        same(f"{split}: {name} of {again}", f"{counts[name]:>7,}  {name}" in text, True)
    print(f"{split}: {len(rows)} rows, read by pyarrow and datasets, and again by tallow")


def check_folder(out, expected, folder):
    """The folder as a dataset: its splits are found by the names of the files, with their numbers of rows."""
    try:
        import datasets
    except ImportError:
        return
    found = datasets.load_dataset(str(out), cache_dir=f"{folder}/cache")
    same(f"splits of {out.name}", {split: len(rows) for split, rows in found.items()}, expected)
    print(f"load_dataset({out.name!r}): {', '.join(expected)}")


with tempfile.TemporaryDirectory() as temporary:
    out = pathlib.Path(temporary) / "packed"
    tallow("data", "pack", f"folder:{FOLDER}", out, "--shard-size", "200kB")
    folders = [path for path in FOLDER.iterdir() if path.name in NAMES]
    has_test = any(path.name == "test" for path in folders)
    expected = {}
    for path in folders or [FOLDER]:
        split = NAMES.get(path.name, "train") if folders else "train"
        # A validation split alone is the test split.
        split = "test" if split == "validation" and not has_test else split
        check(split, sorted(out.glob(f"{split}-*.parquet")), files(path), temporary)
        expected[split] = len(files(path))
    check_folder(out, expected, temporary)
