"""Draws the README's picture: five features in two dimensions, over eight sparsities.

    python images/make_readme_figure.py

Needs Chromium (BROWSER_PATH says where, if it is not found) and trains for a few seconds.
"""

from pathlib import Path

import torch

from part_utils.plots.toy_model import plot_features_in_2d
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import cosine_decay_lr

TARGET = Path(__file__).with_name("five_features_in_two_dimensions.png")


def main() -> None:
    torch.manual_seed(0)
    probabilities = 50 ** -torch.linspace(0, 1, 8)
    importance = 0.9 ** torch.arange(5)
    model = ToyModel(ToyModelConfig(n_instances=8), probabilities[:, None], importance)
    model.optimize(steps=5_000, lr=3e-3, lr_schedule=cosine_decay_lr)
    titles = [f"p = {probability:.2f}" for probability in probabilities]
    plot_features_in_2d(model.W, importance=importance, titles=titles).write_image(TARGET, scale=2)


if __name__ == "__main__":
    main()
