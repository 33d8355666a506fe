"""Training of the bundled autoencoders on the bundled model's MLP (`course train-sae`)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from part_utils.one_layer_model import LanguageModelConfig, OneLayerModel
from pretraining.metrics import Metric, logit_metric
from pretraining.run import Processes, fastest_dtype
from pretraining.sparse_training import SparseTrainingConfig, StoredBatches, Weights, train_stage

NAMES = ("encoder", "decoder", "b_enc", "b_dec", "threshold")


def load_trained_model(run_dir: Path, device: str = "cpu") -> OneLayerModel:
    """Return the model that `course train-lm` wrote to `run_dir`, with weights rounded to float16 as they are shipped.

    Raises a ValueError where the training has not ended yet.
    """
    summary = run_dir / "summary.json"
    if not summary.exists():
        raise ValueError(f"{run_dir} holds no finished language model: run `course train-lm` first.")
    settings = json.loads(summary.read_text(encoding="utf-8"))["settings"]
    names = LanguageModelConfig.__dataclass_fields__
    model = OneLayerModel(LanguageModelConfig(**{name: settings[name] for name in names}))
    weights = load_file(run_dir / "model.safetensors")
    model.load_state_dict({name: value.half().float() for name, value in weights.items()})
    return model.to(device).eval()


@torch.no_grad()
def collect_activations(
    model: OneLayerModel,
    tokens: Int[Tensor, "rows seq"],
    path: Path,
    processes: Processes,
    metric: Metric,
    batch_rows: int = 64,
) -> Float[Tensor, "tokens d_mlp"]:
    """Return the MLP activations of all tokens, in the metric's coordinates, as float16 in a file mapped into memory.

    A file that is complete is used again. With several processes each writes its share of the rows.
    """
    size = model.cfg.d_mlp
    n = tokens.numel()
    done = path.with_suffix(".json")
    description = {"tokens": n, "d_mlp": size, "weights": float(model.head.weight.double().abs().sum())}
    if not (done.exists() and json.loads(done.read_text(encoding="utf-8")) == description):
        path.parent.mkdir(parents=True, exist_ok=True)
        acts = torch.from_file(str(path), shared=True, size=n * size, dtype=torch.float16).view(n, size)
        offsets = torch.arange(len(tokens)).tensor_split(processes.count)[processes.rank]
        for rows in offsets.split(batch_rows):
            post = model.mlp_post(tokens[rows].long().to(model.head.weight.device)).flatten(0, 1)
            start = int(rows[0]) * tokens.shape[1]
            acts[start : start + len(post)] = (post.cpu() @ metric.there).half()
        processes.wait()
        if processes.rank == 0:
            done.write_text(json.dumps(description), encoding="utf-8")
    return torch.from_file(str(path), shared=True, size=n * size, dtype=torch.float16).view(n, size)


def save_weights(weights: Weights, path: Path) -> None:
    """Write one autoencoder as safetensors, under the names of `Weights`' fields."""
    save_file({name: getattr(weights, name).cpu().contiguous() for name in NAMES}, path)


def load_weights(path: Path, device: str = "cpu") -> Weights:
    """Return what `save_weights` wrote."""
    loaded = load_file(path, device=device)
    return Weights(*(loaded[name] for name in NAMES))


def train_autoencoder(
    model_dir: Path,
    corpus: Path,
    run_dir: Path,
    *,
    instance: int = 0,
    n_hidden_ae: int = 1536,
    k: int = 8,
    batch_size: int = 2048,
    topk_steps: int = 6000,
    threshold_steps: int = 1000,
    lr: float = 2e-3,
    max_rows: int = 24_576,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
) -> Weights:
    """Train one instance in the two stages of `sparse_training`, in the logits' metric, and write it to `run_dir`.

    `run_dir/topk_N.safetensors` and `run_dir/threshold_N.safetensors` are the results for instance N, in the metric's
    coordinates. Stages that are done are not repeated. Activations are collected from the first `max_rows` rows of the
    corpus.

    Returns:
        The autoencoder for the neurons as they are.
    """
    processes = Processes(device)
    model = load_trained_model(model_dir, device)
    dtype = fastest_dtype(device)
    tokens = load_file(corpus / "train.safetensors")["tokens"][:max_rows]
    metric = logit_metric(model.cpu())
    model.to(device)
    acts = collect_activations(model, tokens, run_dir / "activations.bin", processes, metric)
    common = SparseTrainingConfig("topk", topk_steps, batch_size, n_hidden_ae, k, lr, 2 * seed + instance)
    weights: Weights | None = None
    for cfg in (common, replace(common, stage="threshold", steps=threshold_steps, lr=lr / 2)):
        result = run_dir / f"{cfg.stage}_{instance}.safetensors"
        if result.exists():
            weights = load_weights(result, device)
            continue
        weights = train_stage(
            StoredBatches(acts, cfg, processes),
            cfg,
            run_dir / f"{cfg.stage}_{instance}",
            start=weights,
            device=device,
            dtype=dtype,
            progress=progress,
            processes=processes,
        )
        if processes.rank == 0:
            save_weights(weights, result)
            (run_dir / f"{cfg.stage}_{instance}.json").write_text(json.dumps(asdict(cfg), indent=2) + "\n")
    assert weights is not None
    weights = metric.weights_for_activations(Weights(*(tensor.cpu() for tensor in weights.tensors())))
    if processes.rank == 0:
        save_weights(weights, run_dir / f"result_{instance}.safetensors")
    return weights
