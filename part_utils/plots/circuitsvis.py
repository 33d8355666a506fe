"""Pictures of the CircuitsVis package in a notebook: offline, and with its script in the notebook only once.

CircuitsVis (github.com/TransformerLensOrg/CircuitsVis) draws with a script of 1.3 MB. Left to itself, it first asks
the internet whether it is there, and then links to the script on a server, or puts a copy of it into each picture.
Here the installed copy is used. It is compressed to a third, the first picture carries it, and the others use it.
"""

import base64
import gzip
import os
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from IPython.display import HTML

_carried = False


def from_circuitsvis(rendered: Any, instead: HTML, carry_script: bool | None = None) -> HTML:
    """Return a picture of CircuitsVis that works without the internet.

    Args:
        rendered: what a function of CircuitsVis returned, such as `colored_tokens_multi`.
        instead: shown until the script has run, and where no script runs, as on GitHub.
        carry_script: put the script into this picture. If left out, only the first picture of a session gets it, and
            on Colab each, since there every output is a page of its own.

    Returns:
        The picture, or, where the environment variable COURSE_STATIC is 1, `instead`.
    """
    global _carried
    if os.environ.get("COURSE_STATIC") == "1":
        return instead
    if carry_script is None:
        carry_script = not _carried or "google.colab" in sys.modules
    source = rendered.local_src
    call = re.match(
        r'CircuitsVis\.render\(\s*"([^"]+)",\s*CircuitsVis\.(\w+),(.*)\)\s*</script>\s*$',
        source[source.rindex("CircuitsVis.render(") :],
        re.DOTALL,
    )
    if call is None:
        raise ValueError(
            "This version of CircuitsVis ends its pictures in another way than 1.43 does; install circuitsvis 1.43."
        )
    _carried = _carried or carry_script
    place, element, properties = call.groups()
    # A token may be "</script>", which would end the script in the middle of a string.
    properties = properties.strip().replace("</", "<\\/")
    script = f'window.courseCircuitsVisScript = "{_compressed_script()}";' if carry_script else ""
    return HTML(
        f'<div id="{place}">{instead.data}</div><script>{script}{_LOADER}'
        f'window.courseCircuitsVis().then(vis => {{ document.getElementById("{place}").replaceChildren(); '
        f'vis.render("{place}", vis.{element}, {properties}); }}).catch(() => {{}});</script>'
    )


# Unpacks the script on first use and keeps what it defines. A picture that is drawn before the one that carries the
# script waits for it, for as long as it takes a page to load.
_LOADER = """
window.courseCircuitsVis ??= () => window.courseCircuitsVisLoaded ??= (async () => {
  for (let i = 0; !window.courseCircuitsVisScript && i < 100; i++) await new Promise(r => setTimeout(r, 100));
  const bytes = Uint8Array.from(atob(window.courseCircuitsVisScript), c => c.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Function(await new Response(plain).text() + "; return CircuitsVis;")();
})();
"""


@cache
def _compressed_script() -> str:
    spec = find_spec("circuitsvis")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The package circuitsvis is not installed; install it with pip.")
    script = (Path(spec.origin).parent / "dist" / "cdn" / "iife.js").read_bytes()
    return base64.b64encode(gzip.compress(script, mtime=0)).decode()
