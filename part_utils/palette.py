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


def rgb(color: str) -> tuple[int, int, int]:
    """Return the red, green and blue of a color such as `#0072B2`, each from 0 to 255."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
