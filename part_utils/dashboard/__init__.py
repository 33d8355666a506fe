"""The feature dashboard: what latents of an autoencoder respond to and do, as one HTML page.

    from part_utils.dashboard import make_dashboard
    make_dashboard(range(8))                    # in a notebook: shows itself
    make_dashboard(range(64), output="dashboard.html")

`collect_statistics` gathers the numbers, `latent_panel_html` and `panel_css` draw the panels of one latent.
"""

from part_utils.dashboard.page import Dashboard, make_dashboard
from part_utils.dashboard.panels import framed, latent_panel_html, panel_css, plain_html
from part_utils.dashboard.statistics import DashboardConfig, DashboardStatistics, collect_statistics

__all__ = [
    "Dashboard",
    "DashboardConfig",
    "DashboardStatistics",
    "collect_statistics",
    "framed",
    "latent_panel_html",
    "make_dashboard",
    "panel_css",
    "plain_html",
]
