"""Brings the measured parts of `part_utils/data/DATA.md` up to date (`course data-card`).

The text of DATA.md is written by hand. What is measured stands between two comments, `<!-- NAME -->` and
`<!-- end -->`, and is made anew from the files in the folder.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from part_utils.evaluation import get_feature_probability
from part_utils.files import write_atomically
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import first_rows, load_tokens
from pretraining.latents import table_of_latents
from pretraining.report import CORE_NAME, bars


def files_table(data: Path) -> list[str]:
    """Return every file of the manifest with its size and SHA-256."""
    sums = json.loads((data / "manifest.json").read_text(encoding="utf-8"))["sha256"]
    rows = [f"| `{name}` | {(data / name).stat().st_size / 1e6:.2f} MB | `{sums[name]}` |" for name in sums]
    return ["| file | size | SHA-256 |", "|---|---|---|", *rows]


def text_table(data: Path) -> list[str]:
    """Return how much text of each kind there is, and how many tokens each split has."""
    corpus = json.loads((data / "corpus.json").read_text(encoding="utf-8"))
    rows = [f"| {kind} | {characters:,} |" for kind, characters in corpus["characters"].items()]
    tokens = corpus["tokens"]
    return [
        "| kind | characters |",
        "|---|---|",
        *rows,
        "",
        f"{tokens['train']:,} training tokens, of which a part is in this folder, {tokens['validation']:,} for "
        f"validation and {tokens['held_out']:,} held out.",
    ]


def loss_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return the losses of the language model on unseen documents and on unseen passages, in nats per token."""
    losses = metrics["loss_by_kind"]
    autoencoders = metrics["autoencoders"]
    names = {"core": f"**{CORE_NAME}**"}
    return [
        "| text | unseen documents (`held_out`) | unseen passages (`validation`) |",
        "|---|---|---|",
        *(
            f"| {names.get(kind, kind)} | {loss:.3f} | {losses['validation'][kind]:.3f} |"
            for kind, loss in losses["held_out"].items()
        ),
        "",
        f"On the unseen documents with the MLP's activations set to zero {autoencoders['loss_zero_ablated']:.3f}, "
        f"to their mean {autoencoders['loss_mean_ablated']:.3f}. Mean squared activation: "
        f"{autoencoders['mean_squared_activation']:.4f}.",
    ]


def measures_table(metrics: Mapping[str, Any]) -> list[str]:
    """Return the measures of both encoders on held-out text."""
    found = metrics["autoencoders"]
    lines = [
        "| | FVU | L0 | CE recovered (zero ablation) | CE recovered (mean ablation) | dead | MSE "
        "| largest error of a decoder row's norm |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for i, letter in enumerate("AB"):
        lines.append(
            f"| encoder-{letter} | {found['fvu'][i]:.4f} | {found['l0'][i]:.1f} | {found['recovered'][i]:.2%} "
            f"| {found['recovered_from_mean'][i]:.2%} | {found['dead'][i]:.2%} | {found['mse'][i]:.5f} "
            f"| {found['decoder_norm_error'][i]:.0e} |"
        )
    return lines


def baselines_table(metrics: Mapping[str, Any]) -> list[str]:
    """Return what as many neurons and principal components keep, and how much of what fires copies neurons."""
    lines = [
        "| | FVU | CE recovered (zero ablation) | CE recovered (mean ablation) | gain over the neurons | copies of "
        "neurons | of what fires |",
        "|---|---|---|---|---|---|---|",
    ]
    found = metrics["autoencoders"]
    for i, letter in enumerate("AB"):
        beside = found["beside"][i]
        lines.append(
            f"| encoder-{letter} | {found['fvu'][i]:.3f} | {found['recovered'][i]:.1%} "
            f"| {found['recovered_from_mean'][i]:.1%} | {100 * beside['gain']:+.1f} points "
            f"| {beside['n_copies']} latents | {beside['copies_share']:.0%} |"
        )
        lines += [
            f"| {beside['k']} {name} | {beside[key]['fvu']:.3f} | {beside[key]['recovered']:.1%} "
            f"| {beside[key]['recovered_from_mean']:.1%} | | | |"
            for name, key in (("neurons", "neurons"), ("principal components", "components"))
        ]
    return lines


def replaced(text: str, parts: Mapping[str, list[str]]) -> str:
    """Return the text with new lines between `<!-- NAME -->` and the `<!-- end -->` that follows it, for every name.

    Raises a ValueError where a name does not occur exactly once.
    """
    for name, lines in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"DATA.md must have one `<!-- {name} -->` with an `<!-- end -->` after it.")
        # A backslash in a context of a latent is no reference to a group.
        new = "\n".join(lines).replace("\\", r"\\")
        text = pattern.sub(rf"\g<1>{new}\n\g<2>", text)
    return text


def update_data_card(data: Path, naming_rows: int = 3200) -> None:
    """Rewrite the measured parts of DATA.md; latents are named in `latent_names.json`."""
    metrics = json.loads((data / "metrics.json").read_text(encoding="utf-8"))
    names = json.loads((data / "latent_names.json").read_text(encoding="utf-8"))
    model, autoencoder = load_language_model(), load_autoencoder()
    rates = get_feature_probability(load_tokens("held_out").tokens, model, autoencoder)[0]
    text = first_rows(load_tokens("train"), naming_rows)
    latents = table_of_latents(
        {int(i): name for i, name in names.items()}, text, ModelWithAutoencoder(model, autoencoder)
    )
    parts = {
        "files": files_table(data),
        "text": text_table(data),
        "loss": loss_lines(metrics),
        "measures": measures_table(metrics),
        "baselines": baselines_table(metrics),
        "frequencies": ["```", *bars(rates), "```"],
        "latents": latents,
    }
    path = data / "DATA.md"
    write_atomically(path, replaced(path.read_text(encoding="utf-8"), parts))
