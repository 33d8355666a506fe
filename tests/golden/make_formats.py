"""Makes the golden files in `tests/golden/formats`, with each package in an environment of its own:

    python -m venv /tmp/sae-lens && /tmp/sae-lens/bin/pip install "sae-lens==6.54.12"
    python -m venv /tmp/dictionary-learning && /tmp/dictionary-learning/bin/pip install "dictionary-learning==0.1.0"
    python -m venv /tmp/sparsify && /tmp/sparsify/bin/pip install "eai-sparsify==1.3.3"
    python tests/golden/make_formats.py ours          # with the course installed
    /tmp/sae-lens/bin/python tests/golden/make_formats.py sae_lens
    /tmp/dictionary-learning/bin/python tests/golden/make_formats.py dictionary_learning
    /tmp/sparsify/bin/python tests/golden/make_formats.py sparsify

(dictionary-learning 0.1.0 is not imported beside a torchvision that is of another torch: uninstall torchvision there.)

`ours` writes autoencoders of the course in every other format. The others write what their package writes, and note
in `outputs.safetensors` what the package computes on some inputs: from its own files, and from ours.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "formats"
D_IN, D_SAE, K = 13, 29, 4


def note(folder, encode_and_decode):
    """Write inputs, latents and reconstructions beside the autoencoder."""
    torch.manual_seed(5)
    inputs = torch.randn(17, D_IN)
    with torch.no_grad():
        latents, reconstruction = encode_and_decode(inputs)
    outputs = {"inputs": inputs, "latents": latents, "reconstruction": reconstruction}
    save_file(
        {name: tensor.detach().float().contiguous().clone() for name, tensor in outputs.items()},
        folder / "outputs.safetensors",
    )


def randomize(module, scale=0.3):
    """Give all parameters values of no special form: no zeros, no unit length."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=scale)
    return module


def ours():
    from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
    from part_utils.formats.recognize import WRITERS
    from part_utils.variants import (
        BatchTopKAutoEncoder,
        GatedAutoEncoder,
        JumpReLUAutoEncoder,
        MatryoshkaAutoEncoder,
        TopKAutoEncoder,
    )

    torch.manual_seed(0)
    cfg = AutoEncoderConfig(2, D_IN, D_SAE)
    made = {
        "relu": AutoEncoder(cfg),
        "topk": TopKAutoEncoder(cfg, K),
        "jumprelu": JumpReLUAutoEncoder(cfg),
        "gated": GatedAutoEncoder(cfg),
    }
    for name, autoencoder in made.items():
        randomize(autoencoder)
        autoencoder.normalize_decoder()
        if name == "jumprelu":
            autoencoder.threshold.data.uniform_(0.1, 0.6)
        if name == "topk":
            autoencoder.rank_scale.uniform_(0.5, 2)
        for format, write in WRITERS.items():
            if format != "sparsify" or name == "topk":
                write(autoencoder, 1, FOLDER / format / f"ours_{name}")

    # As they are at the end of their training: with a threshold for each instance.
    for name, autoencoder in (
        ("batch_topk", BatchTopKAutoEncoder(cfg, K)),
        ("matryoshka", MatryoshkaAutoEncoder(cfg, K, (7, D_SAE))),
    ):
        randomize(autoencoder)
        autoencoder.normalize_decoder()
        autoencoder.threshold.uniform_(0.3, 0.9)
        for format in ("sae_lens", "dictionary_learning"):
            WRITERS[format](autoencoder, 1, FOLDER / format / f"ours_{name}")


def sae_lens():
    import sae_lens as package
    from sae_lens.saes.sae import SAE

    folder = FOLDER / "sae_lens"
    sizes = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "device": "cpu"}
    torch.manual_seed(1)
    for name, kind, settings in (
        ("standard", "Standard", {}),
        ("standard_keeps_b_dec", "Standard", {"apply_b_dec_to_input": False}),
        ("topk", "TopK", {"k": K}),
        ("topk_keeps_b_dec", "TopK", {"k": K, "apply_b_dec_to_input": False}),
        ("topk_rescaled", "TopK", {"k": K, "rescale_acts_by_decoder_norm": True}),
        ("jumprelu", "JumpReLU", {}),
        ("jumprelu_keeps_b_dec", "JumpReLU", {"apply_b_dec_to_input": False}),
        ("gated", "Gated", {}),
        ("gated_keeps_b_dec", "Gated", {"apply_b_dec_to_input": False}),
    ):
        cfg = getattr(package, f"{kind}SAEConfig")(**sizes, **settings)
        sae = randomize(getattr(package, f"{kind}SAE")(cfg))
        if kind == "JumpReLU":
            sae.threshold.data.uniform_(-0.1, 0.6)
        sae.save_model(folder / name)

    # Training classes: as they are at a checkpoint, and as they are saved at the end.
    for name, kind, settings in (
        ("batchtopk", "BatchTopK", {}),
        ("matryoshka_batchtopk", "MatryoshkaBatchTopK", {"matryoshka_widths": [7, D_SAE]}),
    ):
        cfg = getattr(package, f"{kind}TrainingSAEConfig")(k=K, **sizes, **settings)
        sae = randomize(getattr(package, f"{kind}TrainingSAE")(cfg))
        sae.topk_threshold.fill_(0.7)
        sae.save_model(folder / f"{name}_checkpoint")
        sae.save_inference_model(folder / name)
        # SAELens itself uses the whole batch at a checkpoint; what it computes afterwards is what is wanted.
        final = SAE.load_from_disk(folder / name)
        note(folder / f"{name}_checkpoint", lambda h, s=final: (s.encode(h), s.decode(s.encode(h))))

    # As versions before 6 wrote them; SAELens converts them when it loads them.
    standard, topk = folder / "standard", folder / "topk"
    old = {
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float32",
        "device": "cpu",
        "hook_name": "blocks.0.hook_mlp_out",
    }
    for name, source, settings in (
        ("old_standard", standard, {"architecture": "standard", "activation_fn_str": "relu"}),
        ("old_without_architecture", standard, {"normalize_activations": False}),
        ("old_keeps_b_dec", standard, {"apply_b_dec_to_input": False, "hook_point": "blocks.0.hook_mlp_out"}),
        ("old_normalize_none", standard, {"normalize_activations": None, "finetuning_scaling_factor": False}),
        ("old_hook_z", standard, {"hook_name": "blocks.0.attn.hook_z", "sae_lens_training_version": "3.1.0"}),
        (
            "old_topk_as_standard",
            topk,
            {"architecture": "standard", "activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}},
        ),
        ("old_topk_by_activation", topk, {"activation_fn": "topk", "activation_fn_kwargs": {"k": K}}),
        (
            "old_topk",
            topk,
            {
                "architecture": "topk",
                "activation_fn_str": "topk",
                "activation_fn_kwargs": {"k": K},
                "sae_lens_version": "5.10.2",
                "normalize_activations": "none",
            },
        ),
        ("old_jumprelu", folder / "jumprelu", {"architecture": "jumprelu", "activation_fn_str": "relu"}),
        ("old_gated", folder / "gated", {"architecture": "gated", "activation_fn_str": "relu"}),
    ):
        (folder / name).mkdir(exist_ok=True)
        shutil.copy(source / "sae_weights.safetensors", folder / name)
        (folder / name / "cfg.json").write_text(json.dumps(old | settings, indent=2) + "\n")

    for path in sorted(folder.iterdir()):
        if not path.name.endswith("_checkpoint"):
            sae = SAE.load_from_disk(path)
            if sae.cfg.reshape_activations == "hook_z":
                sae.turn_off_forward_pass_hook_z_reshaping()
            note(path, lambda h, s=sae: (s.encode(h), s.decode(s.encode(h))))


def dictionary_learning():
    from dictionary_learning.dictionary import (
        AutoEncoder,
        AutoEncoderNew,
        GatedAutoEncoder,
        JumpReluAutoEncoder,
    )
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK
    from dictionary_learning.utils import load_dictionary

    folder = FOLDER / "dictionary_learning"
    torch.manual_seed(2)
    made = [
        AutoEncoder(D_IN, D_SAE),
        AutoEncoderNew(D_IN, D_SAE),
        GatedAutoEncoder(D_IN, D_SAE),
        JumpReluAutoEncoder(D_IN, D_SAE),
        AutoEncoderTopK(D_IN, D_SAE, K),
        BatchTopKSAE(D_IN, D_SAE, K),
        MatryoshkaBatchTopKSAE(D_IN, D_SAE, K, [7, D_SAE - 7]),
    ]
    for dictionary in made:
        randomize(dictionary)
        name = type(dictionary).__name__
        trainer = {"dict_class": name, "activation_dim": D_IN, "dict_size": D_SAE, "layer": 0, "lm_name": "x"}
        if hasattr(dictionary, "k"):
            trainer["k"] = K
            dictionary.threshold.fill_(0.4)
        elif hasattr(dictionary, "threshold"):
            dictionary.threshold.data.uniform_(0.1, 0.6)
        (folder / name).mkdir(parents=True, exist_ok=True)
        torch.save(dictionary.state_dict(), folder / name / "ae.pt")
        (folder / name / "config.json").write_text(json.dumps({"trainer": trainer}, indent=4) + "\n")
    for path in sorted(folder.iterdir()):
        dictionary, _ = load_dictionary(str(path), "cpu")
        note(path, lambda h, d=dictionary: (d.encode(h), d.decode(d.encode(h))))


def sparsify():
    from sparsify import SparseCoder, SparseCoderConfig

    folder = FOLDER / "sparsify"
    torch.manual_seed(3)
    for name, settings in (
        ("num_latents", {"num_latents": D_SAE}),
        ("expansion_factor", {"expansion_factor": 3}),
        ("not_normalized", {"num_latents": D_SAE, "normalize_decoder": False}),
    ):
        coder = randomize(SparseCoder(D_IN, SparseCoderConfig(k=K, **settings)))
        coder.save_to_disk(folder / name)
    for path in sorted(folder.iterdir()):
        coder = SparseCoder.load_from_disk(path)

        def outputs(h, coder=coder):
            values, latents, _ = coder.encode(h)
            acts = torch.zeros(len(h), coder.num_latents).scatter(1, latents, values)
            return acts, coder(h).sae_out

        note(path, outputs)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    {function.__name__: function for function in (ours, sae_lens, dictionary_learning, sparsify)}[
        sys.argv[1]
    ]()
