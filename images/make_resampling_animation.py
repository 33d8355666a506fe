"""Make images/resampling.gif: decoder directions over training, without and with resampling.

    python images/make_resampling_animation.py

Above: autoencoders whose dead latents stay dead. Below: the same ones, from the same start, with resampling.
Needs Pillow, no browser.
"""

import math
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from part_utils.matching import match_features
from part_utils.plots.theme import COLORS
from part_utils.recovery import RECOVERED, train_and_measure
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import TrainingLog, cosine_decay_lr

SCALE = 2  # drawn so many times larger, then shrunk: smooth lines
PANEL, COLUMNS, TOP, LEFT = 170, 4, 46, 118
BACKGROUND, INK, FAINT = "#FFFFFF", "#303030", "#C8C8C8"
STEPS, MAX_FRAMES = 3_000, 110
SHOW_FOR_MS, LAST_FOR_MS, RING_FRAMES = 100, 3_000, 3


def train() -> tuple[ToyModel, dict[str, TrainingLog]]:
    torch.manual_seed(0)
    model = ToyModel(ToyModelConfig(COLUMNS), feature_probability=0.05)
    model.optimize(steps=3_000, lr=1e-2, lr_schedule=cosine_decay_lr, progress=False)
    logs = {}
    for name, method in (("no\nresampling", None), ("resampling\nby loss", "advanced")):
        _, _, logs[name] = train_and_measure(
            model,
            name,
            seeds=1,
            seed=2,
            steps=STEPS,
            resample_method=method,
            max_records=MAX_FRAMES,
            progress=False,
        )
    return model, logs


def draw_frame(model: ToyModel, logs: dict[str, TrainingLog], record: int) -> Image.Image:
    width, height = LEFT + COLUMNS * PANEL, TOP + len(logs) * PANEL + 8
    image = Image.new("RGB", (width * SCALE, height * SCALE), BACKGROUND)
    draw = ImageDraw.Draw(image)
    step = next(iter(logs.values())).steps[record]
    draw.text((LEFT * SCALE, 12 * SCALE), f"decoder directions, training step {step}", INK, font(18))
    bar = (LEFT + 330, 19, LEFT + COLUMNS * PANEL - 12, 25)
    draw.rectangle([v * SCALE for v in bar], FAINT)
    done = bar[0] + (bar[2] - bar[0]) * step / STEPS
    draw.rectangle([v * SCALE for v in (bar[0], bar[1], done, bar[3])], INK)
    for row, (name, log) in enumerate(logs.items()):
        found = (match_features(model.W, log["W_dec"][record]) > RECOVERED).float().mean().item()
        y = TOP + row * PANEL + PANEL / 2 - 44
        draw.multiline_text((10 * SCALE, y * SCALE), name, INK, font(16), spacing=4 * SCALE)
        draw.text((10 * SCALE, (y + 50) * SCALE), f"{100 * found:.0f} %", INK, font(26))
        draw.text((10 * SCALE, (y + 82) * SCALE), "found", INK, font(14))
        before = log["n_resampled"][max(0, record - RING_FRAMES)]
        for column in range(COLUMNS):
            center = (LEFT + (column + 0.5) * PANEL, TOP + (row + 0.5) * PANEL)
            fresh = log["n_resampled"][record][column] > before[column]
            draw_panel(draw, center, model.W[column].detach(), log["W_dec"][record][column], fresh)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def draw_panel(
    draw: ImageDraw.ImageDraw,
    center: tuple[float, float],
    W: torch.Tensor,
    W_dec: torch.Tensor,
    fresh: torch.Tensor,
) -> None:
    radius = PANEL * 0.34

    def at(x: float, y: float) -> tuple[float, float]:
        return (center[0] + radius * x) * SCALE, (center[1] - radius * y) * SCALE

    def disc(x: float, y: float, size: float, **style: object) -> None:
        cx, cy = at(x, y)
        draw.ellipse([cx - size * SCALE, cy - size * SCALE, cx + size * SCALE, cy + size * SCALE], **style)  # type: ignore[arg-type]

    disc(0, 0, radius, outline=FAINT, width=SCALE)
    for x, y in W.mT.tolist():
        length = math.hypot(x, y)
        for dash in range(0, 14, 2):
            a, b = dash / 13 * 1.22, (dash + 1) / 13 * 1.22
            points = [at(a * x / length, a * y / length), at(b * x / length, b * y / length)]
            draw.line(points, FAINT, 3 * SCALE)
    for latent, (x, y) in enumerate(W_dec.tolist()):
        color = COLORS[latent % len(COLORS)]
        draw.line([at(0, 0), at(x, y)], color, 4 * SCALE)
        disc(x, y, 7, fill=color)
        if fresh[latent]:
            disc(x, y, 14, outline=INK, width=3 * SCALE)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * SCALE)


def main() -> None:
    model, logs = train()
    records = range(len(next(iter(logs.values())).steps))
    frames = [draw_frame(model, logs, record) for record in records]
    durations = [SHOW_FOR_MS] * (len(frames) - 1) + [LAST_FOR_MS]
    palette = frames[-1].quantize(64)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    flat[0].save(
        Path(__file__).parent / "resampling.gif",
        save_all=True,
        append_images=flat[1:],
        duration=durations,
        loop=0,
        optimize=True,
        disposal=1,
    )


if __name__ == "__main__":
    main()
