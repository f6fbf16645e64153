"""Commands in the fenced blocks of README and docs, as a reader would type them."""

import re
from pathlib import Path

from tests.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = {"", "sh", "bash"}


def blocks(page: Path, languages: set[str]) -> list[str]:
    """Return the fenced blocks of a page in these languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def commands(page: Path) -> list[str]:
    """Return the commands of a page: one a line, without comments.

    A block with a function is one command; of a session, whose commands stand behind `$ `, the answers are left out.
    """
    out = []
    for block in blocks(page, SHELL):
        if re.search(r"^\w+\(\) \{", block, flags=re.MULTILINE):
            out.append(block.strip())
            continue
        block = re.sub(r"\\\n|(?<=&&)\n", " ", block)
        if re.search(r"^\$ ", block, flags=re.MULTILINE):
            block = "\n".join(re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE))
        lines = [re.sub(r"(^|\s+)#.*", "", line).strip() for line in block.splitlines()]
        out += [re.sub(r"\s+", " ", line) for line in lines if line]
    return out
