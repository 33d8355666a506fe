"""The dashboard: statistics against the plain way of computing them, the page, the command."""

import html
import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformer_lens.model_bridge import TransformerBridge
from typer.testing import CliRunner

from coursekit.checking import fixtures
from coursekit.commands.cli import app
from coursekit.commands.dashboard import parse_latents
from part_utils.activations import MLP_HOOK, get_activations
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.correlation import RunningCorrelation
from part_utils.dashboard import (
    Dashboard,
    DashboardConfig,
    DashboardStatistics,
    collect_statistics,
    latent_panel_html,
    make_dashboard,
)
from part_utils.dashboard.panels import percent, plain_html, visible
from part_utils.dashboard.reading import RESIDUAL_HOOK, activations_at, reader_for
from part_utils.dashboard.statistics import Context, concentration
from part_utils.dashboard.streaming import N_BINS, Histograms, RunningStatistics
from part_utils.evaluation import get_feature_probability
from part_utils.interpretation import (
    ablate_feature,
    feature_activations,
    feature_in_neuron_basis,
    feature_logit_effect,
    highest_activating_tokens,
    match_between_autoencoders,
    top_activations,
)
from part_utils.language_models import load_autoencoder, load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText
from part_utils.token_text import token_strings
from part_utils.variants import TopKAutoEncoder

LATENTS = [3, 0, 7, 11, 18]
CFG = DashboardConfig(n_top=4, n_groups=3, per_group=2, before=3, after=2, sample_rows=100)
LABELS = ("Wikipedia: History", "django: db", "Python: <b>&amp;")
runner = CliRunner()


def text_of(rows: int = 37, seq: int = 9) -> TokenizedText:
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randint(17, (rows, seq), generator=generator)
    return TokenizedText(tokens, torch.randint(3, (rows, seq), generator=generator), LABELS)


@pytest.fixture(scope="module", params=[1, 2], ids=["one layer", "two layers"])
def model(request: pytest.FixtureRequest) -> TransformerBridge:
    return fixtures.language_model(1, n_layers=request.param)


@pytest.fixture(scope="module")
def autoencoder() -> AutoEncoder:
    return fixtures.autoencoder(2)


@pytest.fixture(scope="module")
def encoder_b(model: TransformerBridge, autoencoder: AutoEncoder) -> ModelWithAutoencoder:
    return ModelWithAutoencoder(model, autoencoder, instance=1, hook=MLP_HOOK)


@pytest.fixture(scope="module")
def statistics(encoder_b: ModelWithAutoencoder) -> DashboardStatistics:
    return collect_statistics(LATENTS, text_of(), encoder_b, cfg=CFG, progress=False)


@pytest.fixture(scope="module")
def acts(encoder_b: ModelWithAutoencoder) -> torch.Tensor:
    """The activations of the latents, [batch seq latents]."""
    return feature_activations(text_of().tokens, encoder_b, LATENTS)


def contexts_of(statistics: DashboardStatistics, latent: int) -> list[Context]:
    its = statistics.latents[latent]
    return [context for group in [its.top, *its.groups] for context in group.contexts]


def test_counts_and_histogram(statistics, acts):
    assert list(statistics.latents) == LATENTS
    for index, latent in enumerate(LATENTS):
        its, values = statistics.latents[latent], acts[..., index][acts[..., index] > 0]
        assert its.n_fired == len(values)
        if not its.n_fired:
            continue
        assert its.rate == pytest.approx(len(values) / acts[..., 0].numel())
        if len(values) == 0:
            continue
        assert its.largest == pytest.approx(values.max().item(), rel=1e-5)
        assert its.mean == pytest.approx(values.mean().item(), rel=1e-5)
        assert its.histogram_top / 2 < its.largest <= its.histogram_top
        expected = torch.histogram(values, N_BINS, range=(0, its.histogram_top)).hist
        assert its.histogram == expected.long().tolist()


def test_strongest_contexts_are_one_from_each_row(statistics, acts):
    for index, latent in enumerate(LATENTS):
        top = statistics.latents[latent].top.contexts
        strongest = acts[..., index].amax(dim=1).topk(CFG.n_top).values
        shown = torch.tensor([context.acts[context.peak] for context in top])
        torch.testing.assert_close(shown, strongest[strongest > 0][: len(shown)], rtol=1e-5, atol=1e-6)
        assert len({context.row for context in top}) == len(top)


def test_groups_lie_in_their_interval_and_count_all_its_tokens(statistics):
    for its in statistics.latents.values():
        assert sum(group.n_tokens for group in its.groups) == its.n_fired
        top = {(context.row, context.start + context.peak) for context in its.top.contexts}
        for group in its.groups:
            assert len(group.contexts) <= CFG.per_group
            for context in group.contexts:
                assert group.low - 1e-6 <= context.acts[context.peak] <= group.high + 1e-6
                assert (context.row, context.start + context.peak) not in top


def test_contexts_show_the_text_and_the_effect_of_the_ablation(statistics, acts, model, autoencoder):
    text = text_of()
    losses = -model(text.tokens).log_softmax(dim=-1)
    for index, latent in enumerate(LATENTS):
        ablated = model(text.tokens) + ablate_feature(text.tokens, model, autoencoder, latent, 1)
        rise = -ablated.log_softmax(dim=-1) - losses
        for context in contexts_of(statistics, latent):
            end = context.start + len(context.tokens)
            assert context.tokens == text.tokens[context.row, context.start : end].tolist()
            assert context.label == text.labels[context.row, context.start + context.peak]
            values = acts[context.row, context.start : end, index]
            torch.testing.assert_close(torch.tensor(context.acts), values, rtol=1e-4, atol=1e-5)
            for offset, effect in enumerate(context.loss_effects):
                place = context.start + offset
                if place == text.tokens.shape[1] - 1:
                    assert effect is None
                elif context.acts[offset] == 0 and model.cfg.n_layers == 1:
                    assert effect == 0
                elif context.acts[offset] > 0:
                    following = text.tokens[context.row, place + 1]
                    assert effect == pytest.approx(rise[context.row, place, following].item(), abs=1e-4)


def direct_or_lens(model: TransformerBridge, autoencoder: AutoEncoder, latent: int) -> torch.Tensor:
    """The direct effect; in a model of two blocks the logit lens, which counts the weights of the final norm."""
    if model.cfg.n_layers == 1:
        return feature_logit_effect(model, autoencoder, latent, 1, k=10).effect
    direction = autoencoder.normalize_and_return_W_dec()[1, latent]
    return direction @ model.blocks[0].mlp.W_out * model.ln_final.w @ model.W_U


def test_weights_are_those_of_the_interpretation_module(statistics, model, autoencoder):
    for latent, its in statistics.latents.items():
        effect = direct_or_lens(model, autoencoder, latent)
        assert [token for token, _ in its.top_logits] == effect.topk(10).indices.tolist()
        assert [token for token, _ in its.bottom_logits] == (-effect).topk(10).indices.tolist()
        assert its.top_logits[0][1] == pytest.approx(effect.max().item(), rel=1e-5)
        basis = feature_in_neuron_basis(autoencoder, latent, 1)
        assert (its.n_half, its.n_ninety) == (basis.n_half, basis.n_ninety)
        neuron, value = its.neurons[0]
        assert neuron == int(basis.share.argmax())
        assert value**2 == pytest.approx(basis.share.max().item(), rel=1e-5)


def test_ablation_on_the_logits(statistics, model, autoencoder):
    """What stands beside the direct effect: the ablation of chapter 4, over the strongest contexts."""
    text = text_of()
    for latent, its in statistics.latents.items():
        difference = ablate_feature(text.tokens, model, autoencoder, latent, 1)
        changes = [
            -difference[c.row, c.start + c.peak] / c.acts[c.peak]
            for c in its.top.contexts
            if c.start + c.peak < text.tokens.shape[1] - 1
        ]
        if not changes:
            assert its.ablation_logits == []
            continue
        mean = torch.stack(changes).mean(dim=0)
        mean -= mean.mean()
        for token, value in its.ablation_logits:
            assert value == pytest.approx(mean[token].item(), abs=1e-3, rel=1e-3)
        direct = direct_or_lens(model, autoencoder, latent)
        expected = torch.corrcoef(torch.stack([direct, mean]))[0, 1].item()
        assert its.agreement == pytest.approx(expected, abs=1e-3)


def test_followers_and_words(statistics, acts):
    tokens = text_of().tokens
    for index, latent in enumerate(LATENTS):
        its, act = statistics.latents[latent], acts[..., index]
        after = torch.zeros(17).index_add_(0, tokens[:, 1:].flatten(), act[:, :-1].flatten())
        on = torch.zeros(17).index_add_(0, tokens.flatten(), act.flatten()) / tokens.flatten().bincount(
            minlength=17
        )
        for token, share in its.followers:
            assert share == pytest.approx((after[token] / after.sum()).item(), rel=1e-3)
        assert [share for _, share in its.followers] == sorted((s for _, s in its.followers), reverse=True)
        for token, strength in its.fires_on:
            assert strength == pytest.approx((on[token] / act.max()).item(), rel=1e-3)
        assert len(its.fires_on) == int((on > 0).sum())


def test_strongest_tokens_are_those_of_the_exercise(model, autoencoder):
    tokens = text_of().tokens
    every = top_activations(tokens, ModelWithAutoencoder(model, autoencoder, 1, MLP_HOOK), k=6, batch_rows=5)
    for latent in LATENTS:
        one = highest_activating_tokens(tokens, model, autoencoder, latent, 1, k=6)
        torch.testing.assert_close(every.values[latent], one.values, rtol=1e-4, atol=1e-5)
        fires = one.values > 0
        flat = one.indices[:, 0] * tokens.shape[1] + one.indices[:, 1]
        assert every.positions[latent][fires].tolist() == flat[fires].tolist()


def test_streamed_correlation_is_that_of_the_exercise():
    generator = torch.Generator().manual_seed(2)
    a, b = torch.rand(50, 3, generator=generator), torch.rand(50, 4, generator=generator)
    b[:, 1] = a[:, 2] + 0.1 * b[:, 1]
    running = RunningCorrelation(3, 4)
    for part_a, part_b in zip(a.split(13), b.split(13), strict=True):
        running.add(part_a, part_b.clone())
    best = running.correlation().max(dim=1)
    matches = match_between_autoencoders(torch.eye(3), torch.eye(4)[:, :3], a, b)
    assert best.indices.tolist() == matches.by_correlation.tolist()
    torch.testing.assert_close(best.values, matches.correlation, rtol=1e-4, atol=1e-5)


def test_similar_latents(statistics, model, autoencoder):
    # Every row is sampled here, since there are fewer than `sample_rows`.
    assert statistics.n_sampled == statistics.n_tokens
    h = get_activations(text_of().tokens, model).flatten(0, 1)
    all_acts = autoencoder(h[:, None].expand(-1, 2, -1)).acts
    for latent, its in statistics.latents.items():
        for other, similar in enumerate(its.similar):
            W_dec = F.normalize(autoencoder.W_dec, dim=-1)
            cosine = W_dec[other] @ W_dec[1, latent]
            both = torch.cat([all_acts[:, 1, latent, None], all_acts[:, other]], dim=1)
            correlation = torch.corrcoef(both.mT)[0, 1:].nan_to_num()
            if other == 1:
                cosine[latent] = correlation[latent] = -2
            found = torch.tensor([match.cosine for match in similar.by_cosine])
            torch.testing.assert_close(found, cosine.topk(5).values, rtol=1e-4, atol=1e-4)
            found = torch.tensor([match.correlation for match in similar.by_correlation])
            torch.testing.assert_close(found, correlation.topk(5).values, rtol=1e-3, atol=1e-3)


def test_labels(statistics, acts):
    labels = text_of().labels
    for index, latent in enumerate(LATENTS):
        its = statistics.latents[latent]
        if not its.n_fired:
            assert sum(its.label_shares) == 0
            continue
        sums = torch.stack([acts[..., index][labels == label].sum() for label in range(3)])
        expected = sums / sums.sum() if sums.any() else sums
        torch.testing.assert_close(torch.tensor(its.label_shares), expected, rtol=1e-4, atol=1e-5)
    shares = torch.tensor(statistics.label_shares)
    torch.testing.assert_close(shares, labels.flatten().bincount() / labels.numel())


def test_frequencies_are_those_of_all_latents(statistics, model, autoencoder):
    rates = get_feature_probability(text_of().tokens, model, autoencoder)[1]
    assert statistics.frequencies.n_dead == int((rates == 0).sum())
    assert int(statistics.frequencies.counts.sum()) == int((rates > 0).sum())


def test_batches_do_not_matter(encoder_b, statistics):
    small = DashboardConfig(**{**CFG.__dict__, "batch_rows": 5})
    again = collect_statistics(LATENTS, text_of(), encoder_b, cfg=small, progress=False)
    for latent, its in statistics.latents.items():
        other = again.latents[latent]
        assert (other.histogram, other.n_fired) == (its.histogram, its.n_fired)
        for mine, theirs in zip(contexts_of(statistics, latent), contexts_of(again, latent), strict=True):
            assert (mine.row, mine.start, mine.peak) == (theirs.row, theirs.start, theirs.peak)


def test_the_same_page_twice(encoder_b, statistics):
    again = collect_statistics(LATENTS, text_of(), encoder_b, cfg=CFG, progress=False)
    assert Dashboard(again).html() == Dashboard(statistics).html()


def test_variants_whose_latents_depend_on_each_other(model):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        topk = TopKAutoEncoder(AutoEncoderConfig(1, 13, 19), k=3)
    result = collect_statistics(
        range(19), text_of(), ModelWithAutoencoder(model, topk, hook=MLP_HOOK), cfg=CFG, progress=False
    )
    h = get_activations(text_of().tokens, model).flatten(0, 1)[:, None]
    fired = (topk(h).acts[:, 0] > 0).sum(dim=0).tolist()
    assert [its.n_fired for its in result.latents.values()] == fired
    rises = [
        effect for latent in result.latents for c in contexts_of(result, latent) for effect in c.loss_effects
    ]
    assert any(rises)


def test_a_silent_latent_has_a_page(autoencoder):
    silent = AutoEncoder(autoencoder.cfg)
    silent.load_state_dict(autoencoder.state_dict())
    with torch.no_grad():
        silent.b_enc[:, 4] = -1e6
    subject = ModelWithAutoencoder(fixtures.language_model(1), silent)
    result = collect_statistics([4], text_of(), subject, cfg=CFG, progress=False)
    assert (result.latents[4].n_fired, result.latents[4].concentration) == (0, 0)
    assert "fires on no token" in latent_panel_html(result, 4)


def test_histograms_grow_without_losing_anything():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(500, generator=generator) * 9
    values = values.sort().values
    histograms = Histograms(2)
    for part in values.split(50):
        histograms.add(
            torch.ones(len(part), dtype=torch.long), part, torch.stack([torch.tensor(0.0), part.max()])
        )
    assert histograms.top[1] == 16
    expected = torch.histogram(values, N_BINS, range=(0, 16)).hist.long()
    assert histograms.counts[1].tolist() == expected.tolist()
    assert histograms.counts[0].sum() == 0


def test_every_token_of_an_interval_is_as_likely_to_be_shown():
    values = torch.ones(40, 25, 1)
    running = RunningStatistics(1, 1, 1, per_bin=100)
    for rows in values.split(8):
        running.add(rows, torch.zeros(rows.shape[:2], dtype=torch.long))
    assert len(running.sample_position) == 100
    # 100 of 1000 positions: ten in each tenth of the text, give or take.
    per_tenth = torch.bincount(running.sample_position // 100, minlength=10)
    assert per_tenth.min() >= 3
    assert per_tenth.max() <= 20


def test_what_is_kept_does_not_grow_with_the_text():
    generator = torch.Generator().manual_seed(0)
    running = RunningStatistics(3, 2, 4, per_bin=2)

    def size() -> int:
        return sum(value.numel() for value in vars(running).values() if isinstance(value, torch.Tensor))

    for _ in range(200):
        running.add(torch.rand(4, 8, 3, generator=generator), torch.zeros(4, 8, dtype=torch.long))
    before = size()
    for _ in range(200):
        running.add(torch.rand(4, 8, 3, generator=generator), torch.zeros(4, 8, dtype=torch.long))
    assert size() <= before
    assert len(running.sample_value) <= 3 * N_BINS * 2


def test_correlation_of_a_constant_is_zero():
    running = RunningCorrelation(1, 2)
    acts = torch.tensor([[0.0], [1.0], [3.0]])
    running.add(acts, torch.cat([acts * 2, torch.zeros_like(acts)], dim=1))
    torch.testing.assert_close(running.correlation(), torch.tensor([[1.0, 0.0]]))
    assert running.fired_b.tolist() == [2, 0]


def test_concentration():
    text = torch.tensor([0.5, 0.25, 0.25])
    assert concentration(text, text, 1000) == pytest.approx(0, abs=1e-6)
    only = torch.tensor([0.0, 1.0, 0.0])
    assert concentration(only, text, 10**9) == pytest.approx(2, abs=1e-3)
    assert concentration(only, text, 2) < 0.2


def test_a_forward_pass_ends_where_nothing_more_is_wanted(model):
    tokens = text_of().tokens
    (early,) = activations_at(model, tokens, "blocks.0.mlp.hook_post")
    torch.testing.assert_close(early, get_activations(tokens, model))
    # No hook is left behind.
    assert model(tokens).shape[:2] == tokens.shape


def test_the_short_cut_is_taken_where_it_computes_the_same(model):
    tokens, both = text_of().tokens, ("blocks.0.mlp.hook_post", RESIDUAL_HOOK)
    one_layer = model.cfg.n_layers == 1
    read = reader_for(model, tokens)
    assert (getattr(read, "func", None) is activations_at) == (not one_layer)
    for mine, theirs in zip(read(tokens, *both), activations_at(model, tokens, *both), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    relu = reader_for(fixtures.language_model(1, act_fn="relu"), tokens)
    assert relu.func is activations_at


def test_a_place_in_a_model_of_many_blocks():
    """The residual stream behind the second of three blocks: no latent fires at a sink, or is taken away there."""
    model = fixtures.language_model(2, n_layers=3)
    with torch.no_grad():
        model.embed.weight[0] *= 300  # Token 0 is a sink.
    text = text_of()
    place = "blocks.1.hook_out"
    h = model.run_with_cache(text.tokens, names_filter=place)[1][place]
    sinks = text.tokens == 0
    assert h[sinks].norm(dim=-1).min() > 3 * h.norm(dim=-1).median()
    torch.manual_seed(0)
    autoencoder = AutoEncoder(AutoEncoderConfig(1, h.shape[-1], 12))
    subject = ModelWithAutoencoder(model, autoencoder, hook=place)
    cfg = replace(CFG, ablate_all=False)
    found = collect_statistics([3, 4, 5], text, subject, cfg=cfg, progress=False)
    assert not found.exact
    assert found.unit == "dimension"
    acts = subject.encode(h).view(*h.shape[:2], -1) * ~sinks[..., None]
    for latent, its in found.latents.items():
        assert its.n_fired == int((acts[..., latent] > 0).sum())
        assert its.largest == pytest.approx(acts[..., latent].max().item(), rel=1e-4)
        direction = autoencoder.normalize_and_return_W_dec()[0, latent]
        lens = direction * model.ln_final.w @ model.W_U
        assert [token for token, _ in its.top_logits] == lens.topk(10).indices.tolist()
        for group in its.groups:
            assert all(effect is None for context in group.contexts for effect in context.loss_effects)
        change = acts[..., latent, None] * direction
        clean = model(text.tokens).log_softmax(-1)
        without = model.run_with_hooks(
            text.tokens, fwd_hooks=[(place, lambda value, hook, change=change: value - change)]
        ).log_softmax(-1)
        for context in its.top.contexts:
            at = context.start + context.peak
            if at < text.tokens.shape[1] - 1:
                following = text.tokens[context.row, at + 1]
                rise = (clean - without)[context.row, at, following].item()
                assert context.loss_effects[context.peak] == pytest.approx(rise, abs=1e-4)
    page = Dashboard(found).html()
    assert "logit lens: more likely" in page
    assert "direct effect" not in page
    assert "<h3>Dimensions</h3>" in page


# The page.


def test_characters_of_several_tokens_are_whole_and_one_label_is_no_topic():
    model, autoencoder = load_language_model(), load_autoencoder()
    line = model.tokenizer("A 𓀀 is ö", add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([[model.tokenizer.bos_token_id, *line]] * 3)
    text = TokenizedText(tokens, torch.zeros_like(tokens), ("a page",))
    acts = feature_activations(tokens, ModelWithAutoencoder(model, autoencoder), list(range(1536)))[0]
    inside = [token for token, string in enumerate(token_strings(line, model.tokenizer)) if "\\x" in string]
    latent = int(acts[1:][inside].amax(dim=0).argmax())
    dashboard = make_dashboard([latent], model=model, autoencoder=autoencoder, text=text, progress=False)
    page = dashboard.html()
    panel = latent_panel_html(dashboard.statistics, latent)
    top = panel[panel.index("<h3>Largest activations") : panel.index("<h3>What comes next")]
    assert re.sub("<[^>]*>", "", top).count("A 𓀀 is ö") == 3
    assert "𓀀" in plain_html(dashboard.statistics)
    assert "topic concentration" not in page
    assert "Where it fires" not in page


def test_text_cannot_break_out(statistics):
    hostile = "</script></template><script>alert(1)</script>&\n\t\"'"
    altered = DashboardStatistics(
        **{
            **statistics.__dict__,
            "strings": dict.fromkeys(statistics.strings, hostile + "\x00"),
            "model_name": hostile.replace("\x00", ""),
            "latents": {
                latent: type(its)(**{**its.__dict__, "name": hostile.replace("\x00", "")})
                for latent, its in statistics.latents.items()
            },
        }
    )
    page = Dashboard(altered).html()
    assert "alert(1)</script>" not in page
    assert page.count("<script>") == page.count("</script>") == 1
    assert page.count("<template ") == page.count("</template>") == len(LATENTS)
    assert "\x00" not in page
    assert "<b>&amp;amp;" not in page
    assert html.escape(LABELS[2]) in page


def test_the_page_asks_for_nothing_from_outside(statistics):
    page = Dashboard(statistics).html()
    assert not re.search(r"(src|href)\s*=\s*[\"']?(?![\"']?(#|data:,))", page.replace("srcdoc", ""))
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_in_a_notebook_it_is_a_frame(statistics):
    frame = Dashboard(statistics)._repr_html_()
    inner = re.search('srcdoc="([^"]*)"', frame)
    assert inner is not None
    assert html.unescape(inner.group(1)) == Dashboard(statistics).html()


def test_unknown_latent_in_the_panels(statistics):
    with pytest.raises(ValueError, match="no latent 5"):
        latent_panel_html(statistics, 5)


def test_saving_is_all_or_nothing(tmp_path, statistics, monkeypatch):
    path = tmp_path / "new" / "page.html"
    assert Dashboard(statistics).save(path) == path
    before = path.read_text()

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        Dashboard(statistics).save(path)
    assert path.read_text() == before
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]
    with pytest.raises(ValueError, match="is a folder"):
        Dashboard(statistics).save(tmp_path)


def test_numbers_and_signs():
    shares = [0, 1, 0.124, 0.0042, 0.000073, 1e-6]
    assert [percent(share) for share in shares] == ["0 %", "100 %", "12 %", "0.42 %", "0.0073 %", "0.00010 %"]
    assert visible("a<\n\t&") == "a&lt;⏎<br>⇥&amp;"


# The command, on the bundled model.


@pytest.fixture(scope="module")
def bundled() -> Dashboard:
    return make_dashboard(range(40, 48), max_rows=200, progress=False)


def test_bundled_size_and_names(bundled):
    latents = bundled.statistics.latents
    assert list(latents) == list(range(40, 48))
    assert bundled.statistics.n_tokens == 200 * 128
    assert len(bundled.html().encode()) / len(latents) < 60_000


def test_command(tmp_path):
    path = tmp_path / "page.html"
    result = runner.invoke(
        app, ["dashboard", "--latents", "3,5:7", "--instance", "1", "--max-rows", "20", "--output", str(path)]
    )
    assert result.exit_code == 0, result.output
    assert "3 latents" in result.output
    page = path.read_text()
    assert "Latents of encoder-B" in page
    assert [int(number) for number in re.findall(r"<template id=latent-(\d+)>", page)] == [3, 5, 6]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--latents", "0:99999999999"], "There is no latent 1536: choose from 0 to 1535."),
        (["--latents", "-1"], "There is no latent -1"),
        (["--latents", "a:b"], "'a:b' names no latents: write numbers and ranges"),
        (["--latents", "5:5"], "'5:5' names no latents: a range begins"),
        (["--latents", "3,44:40"], "'44:40' names no latents: a range begins"),
        (["--instance", "2"], "There is no instance 2: choose one from 0 to 1."),
        (["--split", "test"], "There is no split 'test': choose one of"),
        (["--model", "gpt-7"], "There is no autoencoder 'gpt-7'"),
        (["--max-rows", "0"], "max_rows is 0"),
    ],
)
def test_bad_input_gets_a_sentence(tmp_path, options, sentence):
    result = runner.invoke(app, ["dashboard", *options, "--output", str(tmp_path / "page.html")])
    assert result.exit_code == 2
    assert sentence in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_as_output_gets_a_sentence(tmp_path):
    result = runner.invoke(app, ["dashboard", "--latents", "0", "--max-rows", "2", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "is a folder" in result.output


def test_lists_of_latents():
    assert list(parse_latents("3, 17,40:44")) == [3, 17, 40, 41, 42, 43]
    assert list(parse_latents("0:10:4")) == [0, 4, 8]
