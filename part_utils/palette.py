"""The colors of everything that is colored: figures, text, pages, cards. Nothing is imported for them.

Color-blind safe (Okabe & Ito 2008), without their black, which a dark page would swallow.
"""

BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW = COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
)
GRAY = "#808080"
LIGHT_GRAY = "#888888"  # what is not done yet, on the cards
FAINT = "rgba(128,128,128,0.25)"
# Blue for negative, a light gray for zero, orange for positive. White would be a glaring block on a dark page.
DIVERGING = ((0.0, BLUE), (0.25, "#6FA0BE"), (0.5, "#C4C4C4"), (0.75, "#D49A6A"), (1.0, VERMILION))

# Of pages: text, quieter text, lines, paper, a panel on it; links and bars, what fires, a mark; a warning's background.
LIGHT_PAGE = {
    "ink": "#1B1F24",
    "quiet": "#57606A",
    "line": "#D8DEE4",
    "paper": "#FFFFFF",
    "panel": "#F6F8FA",
    "blue": BLUE,
    "fire": ORANGE,
    "mark": VERMILION,
    "warning": "#FFF4E0",
}
DARK_PAGE = {
    "ink": "#E6EDF3",
    "quiet": "#9AA5B1",
    "line": "#30363D",
    "paper": "#0D1117",
    "panel": "#161B22",
    "blue": SKY,
    "fire": "#BA7500",
    "mark": "#F0883E",
    "warning": "#3A2D14",
}


def page_colors(selector: str) -> str:
    """Return CSS that makes `var(--ink)` and the like colors inside `selector`, light or dark as the reader prefers."""
    light, dark = (
        " ".join(f"--{name}: {color};" for name, color in colors.items())
        for colors in (LIGHT_PAGE, DARK_PAGE)
    )
    return f"{selector} {{ {light} }}\n@media (prefers-color-scheme: dark) {{ {selector} {{ {dark} }} }}\n"


def rgb(color: str) -> tuple[int, int, int]:
    """Return the red, green and blue of a color such as `#0072B2`, each from 0 to 255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
