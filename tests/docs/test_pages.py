"""Pages name options and files that are there."""

import re

import pytest
from source_texts import ROOT, literals

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
# Lines with options of other programs.
FOREIGN = re.compile(
    r"\b(curl|ff\w+|openssl|kubectl|kubernetes-validate|docker|cmake|ctest|envoy|helm|sed|python3?|scripts|dtype)\b"
)


def declared() -> set[str]:
    found = {"--help"}  # CLI11's own
    for texts in literals().values():
        for text in texts:
            found |= {name.lstrip("!") for name in re.findall(r"!?--[a-z][\w-]*", text)}
    return found


@pytest.mark.parametrize("page", ["access", "guide", "http", "kubernetes", "operations", "servers", "troubleshooting"])
def test_options_are_there(page) -> None:
    lines = (ROOT / f"docs/{page}.md").read_text().splitlines()
    named = {name for line in lines if not FOREIGN.search(line) for name in OPTION.findall(line)}
    assert len(named) > 3
    assert named - declared() == set()


def anchors(text: str) -> set[str]:
    """Of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text()), link
