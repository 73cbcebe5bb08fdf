"""What the README says is what happens; its commands are parsed with those of the documentation, in test_docs."""

import re
from pathlib import Path

from inceptions.networks.registry import NETWORKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_is_one_screen():
    assert len(README.splitlines()) <= 80


def test_what_make_is_asked_for_is_a_target():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"(?:^|`|; )make ([a-z-]+)", README, flags=re.MULTILINE)
    assert {"demo", "test", "test-all", "docs"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


def test_picture_is_the_one_that_draw_makes():
    from inceptions.networks.drawing.page import draw

    path = re.search(r"!\[.*?\]\((.*?)\)", README)
    assert path is not None
    assert (ROOT / path[1]).read_text(encoding="utf-8") == draw(NETWORKS["inception_v3"], stage="5b")
