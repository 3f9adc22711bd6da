"""How golden files are written."""

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Block YAML without anchors, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def render_document(document: dict[str, Any]) -> str:
    """As YAML, without what is empty at the top."""
    asked = {key: value for key, value in document.items() if value not in (None, [])}
    return yaml.dump(asked, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
