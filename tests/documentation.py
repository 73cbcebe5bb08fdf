"""The documentation for tests: its hook, and every page, written and made, by its place in docs/."""

import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
STUDY = """\
# A study

| Arm | Accuracy, % |
|---|---:|
| none | 90.00 |

- **Shown**: it is.

    inceptions study NAME --data DATA
"""


def load_hook():
    spec = importlib.util.spec_from_file_location("documentation_hook", ROOT / "scripts" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


HOOK = load_hook()
PAGES = {
    "README.md": (ROOT / "README.md").read_text(encoding="utf-8"),
    **{path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))},
    **{uri: text for uri, text in HOOK.generated_pages().items() if uri.endswith(".md")},
    "list of studies": HOOK.study_list(DOCS),
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE)
