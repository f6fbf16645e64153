"""The README's table "verified here / not yet", made from results/verified.json: `python -m tests.claims`."""

from pathlib import Path

from harness.files import read_json, write_text

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- claims -->\n", "<!-- /claims -->"


def table() -> str:
    """Markdown: one line per claim, exact models gathered into one."""
    claims = read_json(ROOT / "results" / "verified.json")
    exact = {
        name.removeprefix("exact: "): value["holds"] for name, value in claims.items() if name.startswith("exact: ")
    }
    rows = [
        (
            "forward pass equals the public code: "
            + ", ".join(sorted(n for n, held in exact.items() if held == state)),
            state,
        )
        for state in (True, False)
        if state in exact.values()
    ]
    rows += [(name, value["holds"]) for name, value in sorted(claims.items()) if not name.startswith("exact: ")]
    lines = [
        f"| {name} | {'verified' if held else 'not yet'} |" for name, held in sorted(rows, key=lambda row: not row[1])
    ]
    return "\n".join(["| claim | |", "| --- | --- |", *lines]) + "\n"


def readme(text: str) -> str:
    """The README with its table made anew."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return head + BEGIN + table() + END + tail


if __name__ == "__main__":
    write_text(ROOT / "README.md", readme((ROOT / "README.md").read_text()))
