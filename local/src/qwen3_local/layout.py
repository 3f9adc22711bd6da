"""Where things lie: one home folder, a cache that survives and a state that does not."""

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
"""Root of the checkout: Dockerfiles and the Go modules are read from here."""


@dataclass(frozen=True)
class Home:
    """The folder that holds everything this package writes.

    `cache` is keyed by content and may be kept for ever; `state` belongs to what is running now
    and is removed by `down`.
    """

    root: Path

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def bin(self) -> Path:
        """Programs by their plain name (`kubectl`, `helm`), links into the cache."""
        return self.root / "bin"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def images_file(self) -> Path:
        return self.state / "images.json"

    @property
    def timings_file(self) -> Path:
        return self.state / "timings.json"

    def instance(self, name: str) -> Path:
        """State of one control-plane-only instance."""
        return self.state / "instances" / name


def current_home() -> Home:
    """`$QWEN3_LOCAL_HOME`, or a folder of the user's cache."""
    configured = os.environ.get("QWEN3_LOCAL_HOME")
    root = Path(configured) if configured else Path.home() / ".cache" / "qwen3-operator"
    return Home(root.resolve())
