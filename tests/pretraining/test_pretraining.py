"""How the bundled files are made: text, language model, autoencoders; resuming, several processes."""

import json
import math
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformer_lens.model_bridge import TransformerBridge

from part_utils.language_models import load_autoencoder
from part_utils.one_layer_model import (
    LanguageModelConfig,
    OneLayerModel,
    causal_attention,
    next_token_loss,
)
from part_utils.texts import TokenizedText
from part_utils.variants import JumpReLUAutoEncoder
from pretraining import shipping
from pretraining.autoencoders import load_trained_model, load_weights, train_autoencoder
from pretraining.corpus import (
    Document,
    dataset_documents,
    download_packages,
    merge_rare_labels,
    prepare_corpus,
    split_documents,
    strings_of_r_vectors,
)
from pretraining.language_model import silence_unseen_tokens, train_language_model
from pretraining.metrics import logit_metric
from pretraining.muon import Muon, orthogonalize
from pretraining.run import Processes
from pretraining.sparse_training import (
    AUXILIARY_WEIGHT,
    BatchOrder,
    SparseTrainingConfig,
    StoredBatches,
    Weights,
    auxiliary_gradients,
    dense_gradients,
    encode,
    first_weights,
    gradients,
    reconstruct,
    sparse_gradients,
    train_stage,
)

CFG = LanguageModelConfig(d_model=12, n_heads=3, d_mlp=20, d_vocab=300, n_ctx=16)
WORDS = "the quick brown fox jumps over a lazy dog while seven wizards quietly count stars".split()  # noqa: SIM905


def sentences(kind: str, n: int) -> list[Document]:
    generator = torch.Generator().manual_seed(len(kind))
    picks = torch.randint(len(WORDS), (n, 40), generator=generator).tolist()
    return [Document(f"{kind}: {i % 2}", " ".join(WORDS[j] for j in row)) for i, row in enumerate(picks)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    prepare_corpus(sentences("A", 150) + sentences("BB", 150), folder, vocabulary_size=300, context_length=16)
    return folder


def test_every_document_is_read_or_held_out() -> None:
    documents = sentences("A", 200) + sentences("BB", 100)
    read, held_out = split_documents(documents, seed=0, share=0.1)
    assert sorted(map(repr, documents)) == sorted(map(repr, read + held_out))
    assert 15 <= sum(document.label.startswith("A") for document in held_out) <= 25
    assert 7 <= sum(document.label.startswith("BB") for document in held_out) <= 13
    assert split_documents(documents, seed=0, share=0.1) == (read, held_out)
    assert split_documents(documents, seed=1, share=0.1) != (read, held_out)


def test_a_document_larger_than_the_share_is_read() -> None:
    documents = [Document("A", "long " * 1000), *sentences("A", 50)]
    for seed in range(5):
        _, held_out = split_documents(documents, seed, share=0.1)
        assert held_out
        assert sum(len(document.text) for document in held_out) <= 0.1 * sum(len(d.text) for d in documents)


def test_rare_labels_are_merged() -> None:
    documents = [Document("x: a", "1" * 9), Document("x: b", "1")]
    assert [document.label for document in merge_rare_labels(documents, smallest=5)] == ["x: a", "x: modules"]


def test_rows_start_with_bos_and_hold_the_text(corpus: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(corpus / "tokenizer")
    for split in ("train", "validation", "held_out"):
        shard = load_file(corpus / f"{split}.safetensors")
        assert shard["tokens"].dtype == torch.uint16
        assert shard["tokens"].shape == shard["labels"].shape
        tokens = shard["tokens"].int()
        assert (tokens[:, 0] == tokenizer.bos_token_id).all()
        text = tokenizer.decode(tokens[0, 1:], skip_special_tokens=True)
        assert set(text.split()[1:-1]) <= set(WORDS) | {a + b for a in WORDS for b in WORDS}


def test_no_passage_is_in_two_splits(corpus: Path) -> None:
    rows = {
        split: set(map(tuple, load_file(corpus / f"{split}.safetensors")["tokens"].tolist()))
        for split in ("train", "validation", "held_out")
    }
    assert all(rows.values())
    assert not rows["train"] & rows["validation"]
    assert not (rows["train"] | rows["validation"]) & rows["held_out"]


def test_losses_are_means_over_the_tokens_of_a_group() -> None:
    from pretraining.report import loss_by_kind

    class Model:
        """Gives token 0 the probability 1/2 and tokens 1 to 4 an eighth each."""

        def __call__(self, rows: torch.Tensor, return_type: str) -> torch.Tensor:
            return torch.tensor([0.5, *[0.125] * 4]).log().expand(*rows.shape, 5)

    tokens = torch.tensor([[0, 0, 0, 1], [0, 2, 3, 0]])
    labels = torch.tensor([[0, 0, 1, 2], [3, 3, 3, 3]], dtype=torch.uint8)
    text = TokenizedText(tokens, labels, ["Wikipedia: a", "Python: b", "django: c", "other: d"])
    losses = loss_by_kind(Model(), text)  # type: ignore[arg-type]
    bits = {kind: round(loss / math.log(2), 5) for kind, loss in losses.items()}
    wanted = {"all": 2, "core": 5 / 3, "Python": 1, "Wikipedia": 1, "django": 3, "other": 7 / 3}
    assert bits == {kind: round(value, 5) for kind, value in wanted.items()}


def test_tokens_that_never_occur_are_never_predicted_and_in_no_direction() -> None:
    model = OneLayerModel(CFG, seed=0)
    tokens = torch.arange(16).repeat(2, 1) % 7
    before = model(tokens).detach()
    silence_unseen_tokens(model, tokens.to(torch.uint16))
    after = model(tokens).detach()
    torch.testing.assert_close(after[..., :7], before[..., :7])
    assert after.softmax(dim=-1)[..., 7:].sum(dim=-1).max() < 0.01
    torch.testing.assert_close(model.head.weight[7:], model.head.weight[:7].mean(dim=0).expand(293, -1))


def test_attention_in_low_precision_is_the_same_attention() -> None:
    parts = torch.randn(3, 2, 3, 8, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        result = causal_attention(*parts.to(dtype)).float()
        gradients.append((result.detach(), *torch.autograd.grad(result.square().sum(), parts)))
    for exact, low in zip(*gradients, strict=True):
        assert (exact - low).norm() < 0.02 * exact.norm()


def test_strings_of_an_r_database() -> None:
    def stored(kind: int, strings: list[str]) -> bytes:
        data = (
            b"X\n"
            + struct.pack(">iiii", 3, 0x040001, 0x030500, 5)
            + b"UTF-8"
            + struct.pack(">ii", kind, len(strings))
        )
        for string in strings:
            data += struct.pack(">ii", 0x040009, len(string.encode())) + string.encode()
        return struct.pack(">I", len(data)) + zlib.compress(data)

    blob = stored(16, ["EMMA", "", "café"]) + stored(13, []) + stored(16, ["x"])
    assert list(strings_of_r_vectors(blob)) == [["EMMA", "", "café"], ["x"]]


def test_text_from_a_dataset_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["one", "two", "three"]}).save_to_disk(tmp_path / "tiny")
    documents = dataset_documents(str(tmp_path / "tiny"), max_documents=2)
    assert documents == [Document("tiny", "one"), Document("tiny", "two")]
    with pytest.raises(ValueError, match="no column 'body' but text"):
        dataset_documents(str(tmp_path / "tiny"), "body")


def test_training_model_computes_what_the_bridge_computes(tmp_path: Path) -> None:
    model = OneLayerModel(CFG, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    bridge = TransformerBridge.boot_native(CFG.as_bridge_config())
    weights = {shipping.bridge_name(name): value for name, value in model.state_dict().items()}
    bridge.load_state_dict(weights, strict=True)
    tokens = torch.randint(300, (5, 11))
    logits, cache = bridge.run_with_cache(tokens)
    torch.testing.assert_close(model(tokens), logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.mlp_post(tokens), cache["blocks.0.mlp.hook_post"], atol=1e-4, rtol=1e-4)
    loss = next_token_loss(model, tokens, torch.float32)
    torch.testing.assert_close(loss, bridge(tokens, return_type="loss"), atol=1e-5, rtol=1e-5)


def test_chunked_loss_has_the_gradients_of_the_plain_one() -> None:
    model = OneLayerModel(CFG, seed=3)
    tokens = torch.randint(300, (80, 16))
    next_token_loss(model, tokens, torch.float32).backward()
    ours = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    logits = model(tokens)[:, :-1].flatten(0, 1)
    torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).backward()
    for mine, parameter in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, atol=1e-6, rtol=1e-4)


def test_silent_latents_learn_what_is_unexplained() -> None:
    """Half of the data's variance is along an axis that only a silent latent can learn."""
    generator = torch.Generator().manual_seed(0)
    strengths = torch.rand(3000, 6, generator=generator) * torch.tensor([3.0, 1, 1, 1, 1, 1])
    sample = torch.eye(6)[torch.randint(6, (3000,), generator=generator)] * strengths
    weights = first_weights(sample, 7, seed=0)
    weights.b_dec.zero_()
    weights.encoder[:5], weights.decoder[:5] = torch.eye(6)[1:], torch.eye(6)[1:]
    silent = torch.arange(7) >= 5
    start, before = weights.clone(), sample.pow(2).sum()
    start.encoder[silent] = 0  # what the others leave
    parameters = [weights.encoder, weights.decoder, weights.b_enc]
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    for _ in range(300):
        active = encode(start, sample - start.b_dec, 1, torch.float32)
        error = reconstruct(start, active) - sample
        for tensor, grad in zip(parameters, auxiliary_gradients(weights, sample, error, silent), strict=True):
            tensor.grad = torch.zeros_like(tensor)
            tensor.grad[silent] = grad
        optimizer.step()
        weights.decoder /= weights.decoder.norm(dim=1, keepdim=True)
    assert weights.decoder[silent, 0].max() > 0.9
    after = encode(weights, sample - weights.b_dec, 1, torch.float32)
    assert (reconstruct(weights, after) - sample).pow(2).sum() < 0.2 * before
    for tensor, value in zip(weights.tensors()[:3], start.tensors()[:3], strict=True):
        assert torch.equal(tensor[~silent], value[~silent])


def test_muon_steps_along_orthogonal_matrices() -> None:
    for shape in ((7, 7), (5, 11), (11, 5)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape), steps=8))
        assert values.min() > 0.6
        assert values.max() < 1.3
    parameter = torch.nn.Parameter(torch.randn(5, 7))
    before = parameter.detach().clone()
    parameter.grad = torch.randn(5, 7)
    Muon([parameter], lr=0.1, weight_decay=0).step()
    assert (parameter.detach() - before).norm() == pytest.approx(0.1 * 5**0.5, rel=0.2)


def run_language_model(corpus: Path, run_dir: Path, steps: int, batch_rows: int = 8) -> float:
    return train_language_model(
        corpus, run_dir, cfg=CFG, steps=steps, batch_rows=batch_rows, checkpoint_every=10, progress=True
    )


def test_language_model_learns_logs_and_goes_on_after_a_kill(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = run_language_model(corpus, tmp_path / "whole", 40)
    assert loss < 5.5
    entry = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])
    assert entry["step"] == 40
    assert {"loss", "tokens_per_second", "minutes_left"} <= set(entry)

    from pretraining import language_model

    calls = []

    def killed(*args: object) -> torch.Tensor:
        calls.append(0)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return next_token_loss(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(language_model, "next_token_loss", killed)
    with pytest.raises(KeyboardInterrupt):
        run_language_model(corpus, tmp_path / "parts", 40)
    monkeypatch.undo()
    assert run_language_model(corpus, tmp_path / "parts", 40) == pytest.approx(loss, abs=1e-4)
    with pytest.raises(ValueError, match="made with other settings"):
        run_language_model(corpus, tmp_path / "parts", 40, batch_rows=4)


def run_with_two_processes(*arguments: object) -> str:
    """The output of one of the commands under torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "coursekit.commands.pretraining", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def last_line(log: Path) -> dict[str, float]:
    return json.loads((log / "log.jsonl").read_text().splitlines()[-1])


@pytest.mark.slow
def test_two_processes_train_a_language_model_like_one(corpus: Path, tmp_path: Path) -> None:
    output = run_with_two_processes(
        "train-lm", "--corpus", corpus, "--run-dir", tmp_path / "two", "--steps", 20, "--batch-rows", 8,
        "--d-model", 12, "--d-mlp", 20, "--n-heads", 3,
    )  # fmt: skip
    assert output.count("validation loss") == 1
    run_language_model(corpus, tmp_path / "one", 20)
    losses = [last_line(tmp_path / name)["loss"] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    # The bias of the keys adds the same number to all scores of a query, which the softmax takes away again. So its
    # gradient is rounding noise, which Adam makes large and which no two runs share.
    without_effect = "layers.0.attn.k.bias"
    assert one.pop(without_effect).abs().max() < 0.1
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, two[name], atol=2e-3, rtol=1e-2)


@pytest.mark.slow
def test_two_processes_train_an_autoencoder_like_one(corpus: Path, tmp_path: Path) -> None:
    run_language_model(corpus, tmp_path / "lm", 20)
    run_with_two_processes(
        "train-sae", "--model-dir", tmp_path / "lm", "--corpus", corpus, "--run-dir", tmp_path / "two",
        "--instances", "A", "--n-hidden-ae", 40, "--k", 4, "--batch-size", 64,
        "--topk-steps", 40, "--threshold-steps", 40,
    )  # fmt: skip
    train_autoencoder(
        tmp_path / "lm", corpus, tmp_path / "one", instance=0, n_hidden_ae=40, k=4,
        batch_size=64, topk_steps=40, threshold_steps=40,
    )  # fmt: skip
    for stage in ("topk_0", "threshold_0"):
        one, two = (last_line(tmp_path / name / stage) for name in ("one", "two"))
        assert one["fvu"] == pytest.approx(two["fvu"], rel=0.05), stage
        assert one["l0"] == pytest.approx(two["l0"], rel=0.1), stage


def random_weights() -> Weights:
    weights = first_weights(torch.randn(50, 13), 29, seed=0)
    weights.encoder += 0.1 * torch.randn(29, 13)
    weights.b_enc += 0.1 * torch.randn(29)
    weights.b_dec += 0.1 * torch.randn(13)
    weights.threshold += 0.1 + 0.2 * torch.rand(29)
    return weights


@pytest.mark.parametrize("k", [None, 5])
def test_sparse_gradients_are_those_of_autograd(k: int | None) -> None:
    torch.manual_seed(0)
    weights, batch = random_weights(), torch.randn(31, 13)
    silent = torch.arange(29) % 7 == 0
    encoder, decoder, b_enc, b_dec = (tensor.clone().requires_grad_() for tensor in weights.tensors()[:4])
    pre = (batch - b_dec) @ encoder.T + b_enc
    fires = pre >= pre.topk(k, dim=1).values[:, -1:] if k is not None else pre > weights.threshold
    acts = pre.relu() * fires
    rebuilt = acts @ decoder + b_dec
    left = (batch - rebuilt).detach()
    # The auxiliary loss moves the silent latents and nothing else.
    silent_pre = (batch - b_dec.detach()) @ encoder[silent].T + b_enc[silent]
    auxiliary = (left - silent_pre.relu() @ decoder[silent]).pow(2).sum() / left.pow(2).sum()
    (rebuilt.sub(batch).pow(2).mean() + AUXILIARY_WEIGHT * auxiliary).backward()
    grads, measures = gradients(weights, batch, k=k, silent=silent, dtype=torch.float32)
    along = (decoder.grad * decoder.detach()).sum(dim=1, keepdim=True)
    expected = [encoder.grad, decoder.grad - along * decoder.detach(), b_enc.grad, b_dec.grad]
    for ours, theirs in zip(grads, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(measures["squared_error"], rebuilt.sub(batch).pow(2).sum().detach())
    torch.testing.assert_close(measures["l0"], (acts > 0).float().sum(dim=1).mean())
    torch.testing.assert_close(measures["fired"], (acts > 0).float().sum(dim=0))


def sparse_data(n: int = 6000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(60, 24, generator=generator), dim=1)
    codes = (torch.rand(n, 60, generator=generator) < 0.04) * torch.rand(n, 60, generator=generator)
    return (codes @ directions + 0.3).half()


SMALL = SparseTrainingConfig("topk", 150, batch_size=256, n_hidden_ae=96, k=6, lr=5e-3)


def stored(acts: torch.Tensor, cfg: SparseTrainingConfig) -> StoredBatches:
    return StoredBatches(acts, cfg, Processes("cpu"))


def test_dense_gradients_are_the_sparse_ones() -> None:
    batch = sparse_data(200).float()
    weights = first_weights(batch, 96, seed=1)
    weights.b_enc += 0.1
    for k in (6, None):
        centered = batch - weights.b_dec
        active = encode(weights, centered, k, torch.float32)
        for sparse, dense in zip(
            sparse_gradients(weights, batch, centered, active),
            dense_gradients(weights, batch, centered, active),
            strict=True,
        ):
            torch.testing.assert_close(sparse, dense)


def measured(weights: Weights, acts: torch.Tensor, k: int | None) -> tuple[float, float]:
    """Return FVU and L0."""
    acts = acts.float()
    active = encode(weights, acts - weights.b_dec, k, torch.float32)
    error = reconstruct(weights, active) - acts
    variance = (acts - acts.mean(dim=0)).pow(2).sum()
    return (error.pow(2).sum() / variance).item(), int((active.values > 0).sum()) / len(acts)


def test_one_threshold_keeps_the_sparsity_and_the_error(tmp_path: Path) -> None:
    acts = sparse_data()
    topk = train_stage(stored(acts, SMALL), SMALL, tmp_path / "topk", progress=False)
    cfg = replace(SMALL, stage="threshold")
    threshold = train_stage(stored(acts, cfg), cfg, tmp_path / "threshold", start=topk, progress=False)
    error, l0 = measured(topk, acts, 6)
    assert l0 == pytest.approx(6, rel=0.1)
    new_error, new_l0 = measured(threshold, acts, None)
    assert new_l0 == pytest.approx(6, rel=0.05)
    assert new_error < 1.1 * error < 0.2
    assert len(threshold.threshold.unique()) == 1
    for weights in (topk, threshold):
        torch.testing.assert_close(weights.decoder.norm(dim=1), torch.ones(96), atol=1e-5, rtol=0)


def test_distances_in_the_logit_metric_are_those_of_the_logits() -> None:
    torch.manual_seed(0)
    model = OneLayerModel(CFG).requires_grad_(False)
    model.ln_out.weight.uniform_(0.5, 2)
    metric = logit_metric(model)
    h = torch.randn(40, CFG.d_mlp)
    logits = h @ model.layers[0].mlp.fc_out.weight.mT * model.ln_out.weight @ model.head.weight.mT
    logits -= logits.mean(dim=1, keepdim=True)
    ratio = (h @ metric.there).pow(2).sum(dim=1) / logits.pow(2).sum(dim=1)
    # Directions that the model does not read at all keep a millionth of the length.
    torch.testing.assert_close(ratio, ratio.mean().expand(40), atol=0, rtol=1e-3)
    weights = first_weights(h @ metric.there, 29, seed=0)
    weights.b_enc += 0.1 * torch.randn(29)
    weights.threshold += 0.3
    for_neurons = metric.weights_for_activations(weights)
    torch.testing.assert_close(for_neurons.decoder.norm(dim=1), torch.ones(29))
    there, here = h @ metric.there, h
    in_metric = reconstruct(weights, encode(weights, there - weights.b_dec, None, torch.float32))
    in_neurons = reconstruct(for_neurons, encode(for_neurons, here - for_neurons.b_dec, None, torch.float32))
    torch.testing.assert_close(in_neurons @ metric.there, in_metric, atol=1e-3, rtol=1e-3)


def test_a_killed_stage_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acts = sparse_data()
    whole = train_stage(stored(acts, SMALL), SMALL, tmp_path / "whole", progress=False)
    from pretraining import sparse_training

    calls = []

    def killed(*args: object, **kwargs: object) -> object:
        calls.append(0)
        if len(calls) == 90:
            raise KeyboardInterrupt
        return gradients(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(sparse_training, "gradients", killed)
    with pytest.raises(KeyboardInterrupt):
        train_stage(stored(acts, SMALL), SMALL, tmp_path / "parts", checkpoint_every=40, progress=False)
    monkeypatch.undo()
    parts = train_stage(stored(acts, SMALL), SMALL, tmp_path / "parts", checkpoint_every=40, progress=False)
    torch.testing.assert_close(parts.encoder, whole.encoder, atol=1e-4, rtol=1e-3)


def test_batches_use_every_activation_once_per_epoch() -> None:
    order = BatchOrder(23, 5, seed=1)
    first = torch.cat([order(step) for step in range(4)])
    assert len(first.unique()) == 20
    assert not torch.equal(torch.cat([order(step) for step in range(4, 8)]), first)
    assert torch.equal(torch.cat([order(step) for step in range(4)]), first)


def test_from_text_to_files(corpus: Path, tmp_path: Path) -> None:
    run_language_model(corpus, tmp_path / "lm", 20)
    for instance in (0, 1):
        train_autoencoder(
            tmp_path / "lm", corpus, tmp_path / "sae", instance=instance, n_hidden_ae=40, k=4,
            batch_size=64, topk_steps=20, threshold_steps=20, progress=False,
        )  # fmt: skip
    data = tmp_path / "data"
    shipping.ship_language_model(tmp_path / "lm", corpus, data)
    shipping.ship_text(corpus, data, train_rows=7)
    shipping.ship_autoencoders(tmp_path / "sae", data)
    manifest = shipping.write_manifest(data)
    assert "autoencoders.safetensors" in manifest["sha256"]
    assert "tokenizer/tokenizer.json" in manifest["sha256"]
    assert len(load_file(data / "tokens_train.safetensors")["tokens"]) == 7
    both = load_autoencoder(data / "autoencoders.safetensors")
    assert isinstance(both, JumpReLUAutoEncoder)
    assert both.W_enc.shape == (2, 20, 40)
    stored = load_file(data / "language_model.safetensors")
    model = load_trained_model(tmp_path / "lm")
    torch.testing.assert_close(stored["embed.weight"].float(), model.tok_embed.weight.detach())
    weights = load_weights(tmp_path / "sae" / "result_1.safetensors")
    torch.testing.assert_close(weights.decoder.norm(dim=1), torch.ones(40), atol=1e-5, rtol=0)


def test_clear_errors(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="run `course train-lm` first"):
        load_trained_model(tmp_path)
    with pytest.raises(ValueError, match="pass the ones of the stage before"):
        train_stage(stored(sparse_data(300), SMALL), replace(SMALL, stage="threshold"), tmp_path)
    with pytest.raises(ValueError, match="fewer than one batch"):
        stored(sparse_data(30), SMALL)
    with pytest.raises(ValueError, match="give its place with --requirements"):
        download_packages(tmp_path, tmp_path / "none.txt")
    (tmp_path / "some.txt").write_text("-r none.txt\n", encoding="utf-8")
    with pytest.raises(ValueError, match="pip could not fetch the packages"):
        download_packages(tmp_path, tmp_path / "some.txt")


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from coursekit.commands.pretraining import app

    datasets = pytest.importorskip("datasets")
    texts = [document.text for document in sentences("A", 300)]
    datasets.Dataset.from_dict({"text": texts}).save_to_disk(tmp_path / "texts")
    run = CliRunner().invoke
    arguments = ["--dataset", str(tmp_path / "texts"), "--destination", str(tmp_path / "corpus")]
    result = run(app, ["corpus", *arguments, "--vocabulary-size", "300", "--context-length", "16"])
    assert result.exit_code == 0, result.output
    assert "held_out: " in result.output
    result = run(app, ["train-sae", "--instances", "C"])
    assert result.exit_code == 2
    result = run(app, ["train-sae", "--model-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "run `course train-lm` first" in result.output


def test_evaluation_prints_every_measure(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from coursekit.commands.pretraining import app

    rules = tmp_path / "rules.py"
    rules.write_text(
        'def latent_803(context, label):\n    """A prompt."""\n    return context[-1].strip() == ">>>"\n'
    )
    arguments = ["--max-rows", "24", "--samples", "0", "--metrics", str(tmp_path / "metrics.json")]
    arguments += ["--rules", str(rules), "--drawn", "5"]
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 0, result.output
    for name in (
        "FVU",
        "L0",
        "CE recovered",
        "dead",
        "encoder-A",
        "encoder-B",
        "zero ablation",
        "A prompt.",
        "that copy no neuron",
        "that copy a neuron",
    ):
        assert name in result.output
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert len(metrics["autoencoders"]["fvu"]) == 2
    for beside in metrics["autoencoders"]["beside"]:
        assert 0 < beside["components"]["recovered_from_mean"] < beside["neurons"]["recovered_from_mean"] < 1


def test_hero_latents_command() -> None:
    from typer.testing import CliRunner

    from coursekit.commands.pretraining import app

    result = CliRunner().invoke(app, ["hero-latents", "--max-rows", "24", "--show", "3"])
    assert result.exit_code == 0, result.output
    assert "copy no neuron" in result.output
    refused = CliRunner().invoke(app, ["hero-latents", "--instance", "2", "--max-rows", "24"])
    assert refused.exit_code == 2
    assert "There is no instance 2" in refused.output


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def rule(context, label):\n    return True\n", "holds no rule"),
        ("latent_3 = 7\n", "holds no rule"),
        ("def latent_3(:\n", "cannot be run: SyntaxError"),
        ("1 / 0\n", "cannot be run: ZeroDivisionError"),
    ],
)
def test_files_that_hold_no_rules(tmp_path: Path, source: str, said: str) -> None:
    from pretraining.latent_rules import load_rules

    path = tmp_path / "rules.py"
    path.write_text(source)
    with pytest.raises(ValueError, match=said):
        load_rules(path)
    with pytest.raises(ValueError, match="not a file"):
        load_rules(tmp_path / "other.py")


def test_rules_are_scored_by_the_definition() -> None:
    from part_utils.detection import contexts_of, detection_score
    from part_utils.hypotheses import record_feature, score_hypothesis
    from part_utils.language_models import load_autoencoder, load_language_model
    from part_utils.model_with_autoencoder import ModelWithAutoencoder
    from pretraining.latent_rules import score_rules

    encoder_a = ModelWithAutoencoder(load_language_model(), load_autoencoder())

    def rule(context: list[str], label: str) -> bool:
        return context[-1].strip() == ">>>"

    found = score_rules({803: rule, 12: rule}, encoder_a, rows=20)
    feature = record_feature(803, encoder_a, rows=20)
    detection = detection_score(rule, *contexts_of(feature.held_out))
    assert list(found) == [12, 803]
    assert found[803] == (score_hypothesis(rule, feature), detection)
    with pytest.raises(ValueError, match="There is no latent 1536"):
        score_rules({1536: rule}, encoder_a, rows=1)


def test_a_transcoder_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from part_utils.one_layer_model import LanguageModelConfig, OneLayerModel
    from pretraining.transcoder import TranscoderTraining, train_transcoder

    model = OneLayerModel(LanguageModelConfig(d_model=12, n_heads=2, d_mlp=16, d_vocab=31, n_ctx=8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(parameter.numel()))
    model.requires_grad_(False)
    tokens = torch.randint(31, (64, 8), generator=torch.Generator().manual_seed(0))
    cfg = TranscoderTraining(n_hidden=20, k=4, steps=30, batch_rows=8, lr=0.02)
    whole = train_transcoder(model, tokens, tmp_path / "whole", cfg, progress=False)

    class Stopped(Exception):
        pass

    def stop(*args: object, **kwargs: object) -> None:
        raise Stopped

    from pretraining import transcoder as module

    saved = module.save_checkpoint
    monkeypatch.setattr(module, "save_checkpoint", lambda *args: (saved(*args), stop()))
    with pytest.raises(Stopped):
        train_transcoder(model, tokens, tmp_path / "parts", cfg, checkpoint_every=10, progress=False)
    monkeypatch.setattr(module, "save_checkpoint", saved)
    again = train_transcoder(model, tokens, tmp_path / "parts", cfg, checkpoint_every=10, progress=False)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    # A loss of 1 is that of the mean output.
    assert log[-1]["loss"] < 0.9
