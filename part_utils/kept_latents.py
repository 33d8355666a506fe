"""Latents that a learner has found and named, in one file beside the notebook."""

import hashlib
import json
from pathlib import Path
from typing import Any

from part_utils.autoencoder import AutoEncoder
from part_utils.files import write_atomically

FILE = "kept_latents.json"


class KeptLatents:
    """The kept latents of one instance of an autoencoder, with their names.

    The file may hold those of several autoencoders. Each is known by its decoder, so that a name never comes to stand
    at a latent of another one. What else is in the file stays.
    """

    def __init__(self, autoencoder: AutoEncoder, instance: int = 0, path: str | Path | None = None) -> None:
        """Read the file.

        Args:
            autoencoder: the autoencoder.
            instance: of which instance.
            path: the file; `kept_latents.json` in the working folder, which is the notebook's, if left out.

        Raises:
            ValueError: the file is there and cannot be read; it is left as it is.
        """
        self.path = Path(path) if path is not None else Path.cwd() / FILE
        decoder = autoencoder.normalize_and_return_W_dec()[instance].detach().cpu().contiguous()
        self._key = hashlib.sha256(decoder.numpy().tobytes()).hexdigest()[:16]
        self.names = self._names_in(self._content())

    def keep(self, latent: int, name: str) -> None:
        """Keep a latent under a name, or give one that is kept another name."""
        self._change({latent: name.strip()}, dropped=None)

    def drop(self, latent: int) -> None:
        """Keep a latent no longer; nothing happens if it was not."""
        self._change({}, dropped=latent)

    def _change(self, new: dict[int, str], dropped: int | None) -> None:
        # Read again: another notebook may have written in the meantime.
        content = self._content()
        names = {**self._names_in(content), **new}
        if dropped is not None:
            names.pop(dropped, None)
        content[self._key] = {str(latent): names[latent] for latent in sorted(names)}
        write_atomically(self.path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        self.names = names

    def _content(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            assert isinstance(content, dict)
            self._names_in(content)
        except (ValueError, AssertionError, AttributeError):
            raise ValueError(
                f"{self.path} does not hold kept latents, as it should; correct it, or move it away."
            ) from None
        return content

    def _names_in(self, content: dict[str, Any]) -> dict[int, str]:
        return {int(latent): str(name) for latent, name in content.get(self._key, {}).items()}
