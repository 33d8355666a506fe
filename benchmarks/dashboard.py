"""Times the dashboard of 64 latents over 200,000 tokens: ours and sae-vis's, on the same autoencoder and tokens.

    python benchmarks/dashboard.py --sae-vis PYTHON [--tokens N] [--latents N] [--rounds R] [--threads T]

PYTHON is the interpreter of an environment that has sae-vis. Version 0.3.7 does not name all that it needs; this
makes one in which it runs:

    python -m venv sae-vis-environment
    sae-vis-environment/bin/pip install "sae-vis==0.3.7" "sae-lens==4.4.5" "pyarrow<21" frozendict tabulate

This script itself runs in the course's environment. Without --sae-vis only ours is timed.

sae-vis needs a HookedTransformer of TransformerLens 2, so the bundled model's weights are written under its names;
both must compute the same loss on a few rows. Every run is a process of its own, and runs are interleaved. Timed is
what lies between a loaded model and a written page; on a machine that does other things, too, the processor time is
the better figure. Both show the same number of contexts of the same length:
sae-vis's defaults, the 20 strongest and 5 from each of 10 intervals, with 5 tokens before and after.

They do not do quite the same. Both gather histograms, strongest and random contexts, the effect of ablating the
latent on every token shown, direct effects on the logits, and correlations with encoder-A and encoder-B (with
--without-b only with encoder-A). Only ours compares directions and breaks the activations down by topic; only
sae-vis correlates with neurons, correlates on all tokens (ours: on a sample of rows), and shows which logits an
ablation changes most.

At the end stands the peak memory of ours for two lengths of text: it shall not depend on it.

Measured with the present model on two threads of a machine that did nothing else, 64 latents over 200,000 tokens:
ours 4.6 s (8.9 s of processor time), sae-vis 22.7 s (42.4), so 5.0 times; a page of 28 kB a latent against 89. Ours
held 642 MB, and 641 with a million tokens; sae-vis 1,543. Three fifths of ours are the model's own reading of the text,
once for the statistics and once more for the rows that are shown, so a smaller autoencoder gains little here.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

N_TOP, N_GROUPS, PER_GROUP, BEFORE, AFTER = 20, 10, 5, 5, 5
MODEL, TOKENS, CFG = "model.safetensors", "tokens.safetensors", "model.json"


def megabytes() -> float:
    """The most memory that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(n_rows: int, latents: int, with_b: bool, folder: Path) -> dict[str, Any]:
    from part_utils.dashboard import Dashboard, DashboardConfig, collect_statistics
    from part_utils.language_models import load_autoencoder, load_language_model
    from part_utils.model_with_autoencoder import ModelWithAutoencoder
    from part_utils.texts import TokenizedText, load_tokens

    autoencoder = load_autoencoder(run=None if with_b else 1)
    model, text = load_language_model(), load_tokens("train")
    text = TokenizedText(text.tokens[:n_rows], text.labels[:n_rows], text.label_names)
    cfg = DashboardConfig(n_top=N_TOP, n_groups=N_GROUPS, per_group=PER_GROUP, before=BEFORE, after=AFTER)
    before, start, busy = megabytes(), time.perf_counter(), time.process_time()
    subject = ModelWithAutoencoder(model, autoencoder)
    statistics = collect_statistics(range(latents), text, subject, cfg=cfg, progress=False)
    Dashboard(statistics).save(folder / "ours.html")
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    rates = [its.rate for its in statistics.latents.values()]
    return {"seconds": seconds, "busy": busy, "before": before, "page": "ours.html", "rates": rates}


def sae_vis(n_rows: int, latents: int, with_b: bool, folder: Path) -> dict[str, Any]:
    from sae_lens import SAE, HookedSAETransformer, SAEConfig
    from sae_vis import SaeVisConfig, SaeVisData
    from sae_vis.data_config_classes import SeqMultiGroupConfig
    from safetensors.torch import load_file
    from transformer_lens import HookedTransformerConfig

    exported = json.loads((folder / CFG).read_text())
    model = HookedSAETransformer(HookedTransformerConfig(**exported["model"], device="cpu"))
    stored = load_file(folder / MODEL)
    encoders = [{name: stored.pop(f"{letter}.{name}") for name in exported["encoder"]} for letter in "AB"]
    model.load_state_dict(stored, strict=False)
    model.eval()
    d_in, d_sae = encoders[0]["W_enc"].shape
    sae_cfg = SAEConfig(
        architecture="jumprelu" if "threshold" in exported["encoder"] else "standard",
        d_in=d_in,
        d_sae=d_sae,
        activation_fn_str="relu",
        apply_b_dec_to_input=True,
        finetuning_scaling_factor=False,
        context_size=exported["model"]["n_ctx"],
        model_name="bundled",
        hook_name="blocks.0.mlp.hook_post",
        hook_layer=0,
        hook_head_index=None,
        prepend_bos=True,
        dataset_path="",
        dataset_trust_remote_code=False,
        normalize_activations="none",
        dtype="float32",
        device="cpu",
        sae_lens_training_version=None,
    )
    sae, sae_B = SAE(sae_cfg), SAE(sae_cfg)
    sae.load_state_dict(encoders[0])
    sae_B.load_state_dict(encoders[1])
    tokens = load_file(folder / TOKENS)["tokens"].long()[:n_rows]
    with torch.no_grad():
        loss = model(tokens[:16], return_type="loss").item()
    if abs(loss - exported["loss"]) > 1e-4:
        raise SystemExit(f"The models differ: loss {loss:.5f} here, {exported['loss']:.5f} in the course.")
    vocabulary = dict(enumerate(exported["vocabulary"]))
    cfg = SaeVisConfig(features=list(range(latents)))
    for components in cfg.feature_centric_layout.columns.values():
        for component in components:
            if isinstance(component, SeqMultiGroupConfig):
                sizes = (component.top_acts_group_size, component.n_quantiles, component.quantile_group_size)
                if (*sizes, *component.buffer) != (N_TOP, N_GROUPS, PER_GROUP, BEFORE, AFTER):
                    raise SystemExit(f"sae-vis has other defaults: {component}.")
    before, start, busy = megabytes(), time.perf_counter(), time.process_time()
    data = SaeVisData.create(
        sae=sae,
        sae_B=sae_B if with_b else None,
        model=model,
        tokens=tokens,
        cfg=cfg,
        vocab_dict=dict.fromkeys(("embed", "unembed", "probes"), vocabulary),
    )
    data.save_feature_centric_vis(str(folder / "sae_vis.html"))
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    rates = data.feature_stats.frac_nonzero
    return {"seconds": seconds, "busy": busy, "before": before, "page": "sae_vis.html", "rates": rates}


WORKERS = {"ours": ours, "sae_vis": sae_vis}


@torch.no_grad()
def export(n_rows: int, folder: Path) -> None:
    """The bundled model under a HookedTransformer's names, the autoencoders, the tokens, and what the loss must be."""
    from safetensors.torch import save_file

    from part_utils.language_models import load_autoencoder, load_language_model
    from part_utils.published import legacy_state_dict
    from part_utils.texts import load_tokens

    model, autoencoder, text = load_language_model(), load_autoencoder(), load_tokens("train")
    names = ("n_layers", "d_model", "n_ctx", "d_head", "n_heads", "d_mlp", "d_vocab", "act_fn")
    cfg = {name: getattr(model.cfg, name) for name in (*names, "normalization_type")}
    weights = legacy_state_dict(model)
    encoder = autoencoder.state_dict()
    for instance, letter in enumerate("AB"):
        weights |= {f"{letter}.{name}": weight[instance] for name, weight in encoder.items()}
    save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, folder / MODEL)
    save_file({"tokens": text.tokens[:n_rows].int()}, folder / TOKENS)
    exported = {
        "model": cfg,
        "encoder": list(encoder),
        "loss": model(text.tokens[:16], return_type="loss").item(),
        "vocabulary": model.tokenizer.convert_ids_to_tokens(list(range(cfg["d_vocab"]))),
    }
    (folder / CFG).write_text(json.dumps(exported))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sae-vis", help="interpreter of the environment that has sae-vis")
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--latents", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--without-b", action="store_true", help="leave encoder-B out")
    parser.add_argument("--folder", type=Path, help="where model, tokens and pages go; temporary if left out")
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    n_rows = -(-arguments.tokens // 128)
    if arguments.worker:
        result = WORKERS[arguments.worker](
            n_rows, arguments.latents, not arguments.without_b, arguments.folder
        )
        print(json.dumps({**result, "peak": megabytes()}))
        return

    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    export(n_rows, folder)

    def run(name: str, python: str, tokens: int) -> dict[str, Any]:
        command = [python, __file__, "--worker", name, "--folder", str(folder), "--tokens", str(tokens)]
        command += ["--latents", str(arguments.latents), "--threads", str(arguments.threads)]
        command += ["--without-b"] if arguments.without_b else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.splitlines()[-1])

    interpreters = {"ours": sys.executable, "sae_vis": arguments.sae_vis}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name, python in interpreters.items() if python}
    for _ in range(arguments.rounds):
        for name in results:
            results[name].append(run(name, interpreters[name], arguments.tokens))
    print(f"{arguments.latents} latents, {n_rows * 128:,} tokens, {arguments.threads} thread(s), best round")
    best = {name: min(runs, key=lambda run: run["seconds"]) for name, runs in results.items()}
    for name, run_ in best.items():
        size = (folder / run_["page"]).stat().st_size / 1000 / arguments.latents
        print(
            f"{name:8s} {run_['seconds']:7.1f} s ({run_['busy']:.1f} s of processor time), peak {run_['peak']:6.0f} MB"
            f" ({run_['before']:.0f} MB before it started), page {size:.0f} kB a latent"
        )
    if "sae_vis" in best:
        ratio = best["sae_vis"]["seconds"] / best["ours"]["seconds"]
        busy = best["sae_vis"]["busy"] / best["ours"]["busy"]
        apart = max(abs(a - b) for a, b in zip(best["ours"]["rates"], best["sae_vis"]["rates"], strict=True))
        print(
            f"ours is {ratio:.1f} times as fast ({busy:.1f} by processor time); "
            f"firing rates differ by at most {apart:.1e}"
        )
    for tokens in (arguments.tokens, 5 * arguments.tokens):
        again = run("ours", sys.executable, tokens)
        print(f"ours, {tokens:9,} tokens: {again['seconds']:6.1f} s, peak {again['peak']:6.0f} MB")


if __name__ == "__main__":
    main()
