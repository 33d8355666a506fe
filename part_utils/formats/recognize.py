"""Which format a file or folder is in, and reading and writing any of them."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from part_utils.autoencoder import AutoEncoder
from part_utils.formats import dictionary_learning, ours, sae_lens, sparsify
from part_utils.formats.dictionary_learning import save_dictionary_learning
from part_utils.formats.ours import save_autoencoder
from part_utils.formats.reading import listed
from part_utils.formats.sae_lens import save_sae_lens
from part_utils.formats.sparsify import save_sparsify
from part_utils.formats.weights import to_autoencoder

FOLDERS = {"sae_lens": sae_lens, "dictionary_learning": dictionary_learning, "sparsify": sparsify}
"""The formats of other packages. In each, one autoencoder is a folder with a file of weights and one of settings."""
WRITERS: dict[str, Callable[[AutoEncoder, int, Path], None]] = {
    "sae_lens": save_sae_lens,
    "dictionary_learning": save_dictionary_learning,
    "sparsify": save_sparsify,
}
CAN_BE_LOADED = (
    "a folder of SAELens (cfg.json, sae_weights.safetensors), of dictionary_learning (config.json, ae.pt) or of "
    "sparsify (cfg.json, sae.safetensors), or a file of save_autoencoder or `course import-sae`"
)


def load(path: Path, instance: int | None = None) -> AutoEncoder:
    """Load an autoencoder from a file or folder of any known format (see `recognize`), or only one of its instances.

    A folder is recognized by its files, and one of these files stands for its folder. The formats of
    SAELens and sparsify have no checksum: a flipped bit of a weight cannot be noticed there, nor a setting that was
    changed to another possible one or lost where SAELens takes a default for it. Ours has a checksum of everything,
    and `ae.pt` one of its weights.

    Raises:
        ValueError: what is there is in no known format, damaged, or an autoencoder of another kind.
    """
    name = recognize(path)
    if name == "ours":
        return ours.load(path, instance)
    folder = path if path.is_dir() else path.parent
    autoencoder = to_autoencoder(FOLDERS[name].read(folder), folder)
    return autoencoder if instance is None else only_instance(autoencoder, instance)


def recognize(path: Path) -> str:
    """Return the format of a file or folder: "ours", or one of `FOLDERS`.

    Raises:
        ValueError: it is in none of them, or in two.
    """
    try:
        if not path.exists():
            raise ValueError(f"There is no {str(path)[:200]}. Give {CAN_BE_LOADED}.")
        folder = path if path.is_dir() else path.parent
        there = sorted(file.name for file in folder.iterdir())
    except OSError as error:
        raise ValueError(
            f"{str(path)[:200]} cannot be read ({error.strerror}). Give {CAN_BE_LOADED}."
        ) from error
    found = [name for name, format in FOLDERS.items() if format.WEIGHTS in there]
    if path.is_dir():
        if len(found) > 1:
            raise ValueError(
                f"{path} has the weights of {listed(found)}: name the file of the one that is meant."
            )
        if found:
            return found[0]
        raise ValueError(f"{path} holds {listed(there) if there else 'nothing'}. Give {CAN_BE_LOADED}.")
    for name in found:
        if path.name == FOLDERS[name].WEIGHTS or (len(found) == 1 and path.name == FOLDERS[name].CONFIG):
            return name
    if path.suffix == ".safetensors":
        return "ours"
    raise ValueError(f"{path} is in no known format. Give {CAN_BE_LOADED}.")


@torch.no_grad()
def only_instance(autoencoder: AutoEncoder, instance: int) -> AutoEncoder:
    """Return an autoencoder of the same class that has only one of the instances.

    Raises:
        ValueError: there is no such instance.
    """
    n_instances = autoencoder.cfg.n_instances
    if not 0 <= instance < n_instances:
        raise ValueError(f"There is no instance {instance}: choose one from 0 to {n_instances - 1}.")
    alone = copy.deepcopy(autoencoder)
    alone.cfg = replace(autoencoder.cfg, n_instances=1)
    for tensor in (*alone.parameters(), *alone.buffers()):
        tensor.data = tensor.data[instance : instance + 1].clone()
    return alone


def save(autoencoder: AutoEncoder, format: str, path: Path, instance: int = 0) -> None:
    """Write an autoencoder in any known format: all instances to a file ("ours"), or one to a folder.

    Raises:
        TypeError: the autoencoder is of a class of its own.
        ValueError: there is no such format or instance, or the format has no such architecture.
    """
    if format == "ours":
        save_autoencoder(autoencoder, path)
    elif format in WRITERS:
        WRITERS[format](autoencoder, instance, path)
    else:
        raise ValueError(f"There is no format {format!r}: choose one of ours, {', '.join(WRITERS)}.")
