"""The search for simple rules: it finds the best set, rules that were planted, and writes what the scorer reads."""

from itertools import chain, combinations
from pathlib import Path

import pytest
import torch

from pretraining import rule_search
from pretraining.latent_rules import load_rules
from pretraining.rule_search import as_python, best_values, find_rule, holds, sentence, study


@pytest.mark.parametrize("seed", range(5))
def test_no_other_set_of_values_has_a_larger_f1(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    value = torch.randint(6, (80,), generator=generator)
    fires = torch.rand(80, generator=generator) < value / 7
    among = torch.rand(80, generator=generator) < 0.8

    def f1(named: tuple[int, ...]) -> float:
        said = torch.isin(value, torch.tensor(named)) & among
        return 2 * int((said & fires).sum()) / int(said.sum() + fires.sum())

    named, found = best_values(value, fires, among, n_values=6)
    assert found == pytest.approx(f1(tuple(named.tolist())))
    sets = chain.from_iterable(combinations(range(6), size) for size in range(1, 7))
    assert found == pytest.approx(max(f1(one) for one in sets))


def test_a_rule_names_no_more_values_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_search, "N_NAMED", 2)
    value = torch.tensor([0, 0, 0, 1, 1, 2, 3])
    everywhere = torch.ones(7, dtype=torch.bool)
    named, f1 = best_values(value, value < 3, everywhere, n_values=4)
    assert sorted(named.tolist()) == [0, 1]
    assert f1 == pytest.approx(2 * 5 / (6 + 5))


def drawn_text(rows: int = 40, length: int = 30) -> tuple[list[list[str]], list[list[str]]]:
    generator = torch.Generator().manual_seed(7)
    vocabulary = [" to", " a", "def", "\n", " x", '"\\']
    words = [
        [vocabulary[number] for number in torch.randint(len(vocabulary), (length,), generator=generator)]
        for _ in range(rows)
    ]
    labels = [[("Austen: Emma", "django: db")[row % 2]] * length for row in range(rows)]
    return words, labels


@pytest.mark.parametrize(
    "planted",
    [
        {"token": [" to", " a"], "kind": ["Austen"]},
        {"token": [" x"], "before": ["\n"]},
        {"line": ["def"], "label": ["django: db"]},
        {"two before": ['"\\']},
        {"word": ["to", "x"]},
    ],
)
def test_a_planted_rule_is_found_written_and_read_again(
    planted: dict[str, list[str]], tmp_path: Path
) -> None:
    words, labels = drawn_text()
    contexts = [(words[row][: place + 1], labels[row][place]) for row in range(40) for place in range(30)]
    fires = torch.tensor([holds(planted, *context) for context in contexts])
    studied = study(words, labels)
    rule = {
        name: [studied.names[n] for n in named.tolist()] for name, named in find_rule(studied, fires).items()
    }
    assert [holds(rule, *context) for context in contexts] == fires.tolist()
    path = tmp_path / "rules.py"
    path.write_text(as_python({12: rule, 3: {}}), encoding="utf-8")
    read = load_rules(path)
    assert sorted(read) == [3, 12]
    assert [read[12](*context) for context in contexts] == fires.tolist()
    assert not any(read[3](*context) for context in contexts)


def test_a_rule_in_words() -> None:
    assert sentence({"kind": ["Austen"], "token": [" to", "\n"]}) == "` to` or `\\n`, in Austen"
    assert sentence({}) == "never"
