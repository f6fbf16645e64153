"""The README's tables, made from committed runs: `python -m tests.claims`."""

from harness.files import read_json, write_text
from harness.records import results
from tests.paths import ROOT


def table() -> str:
    """Markdown: one line per claim, exact models gathered into one."""
    claims = read_json(ROOT / "results" / "verified.json")
    exact = {
        name.removeprefix("exact: "): value["holds"] for name, value in claims.items() if name.startswith("exact: ")
    }
    rows = [
        (
            "forward pass equals the golden numbers: "
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


def measured() -> str:
    """Markdown: what the `cpu` scale measured, one line per dump."""
    lines = ["| run | images seen | FID-768, TensorFlow | FID-768, clean-fid |", "| --- | --- | --- | --- |"]
    scores = results.load(ROOT / "results/cpu").scores
    for (experiment, seed, _), part in scores.groupby(["experiment", "seed", "snapshot"], sort=True):
        fid = part.set_index("scorer")["fid"]
        name = f"{experiment}, seed {seed}"
        lines.append(f"| {name} | {part['nimg'].iloc[0]:,} | {fid['tf']:.2f} | {fid['clean']:.2f} |")
    return "\n".join(lines) + "\n"


def speed() -> str:
    """Markdown: every ratio of the committed benches, one line per comparison."""
    scores, train = (read_json(ROOT / "results/bench" / name) for name in ("scores.json", "train-cpu.json"))
    plain, *variants = train["rows"]
    machine = scores["machine"]
    assert train["machine"] == f"{machine['cpu']}, {machine['cpu_count']} cores", "both benches are of one machine"
    lines = [f"Measured on {train['machine']}.", "", "| what | beside | times as fast |", "| --- | --- | --- |"]
    for row in variants:
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else "not measured"
        lines.append(f"| TransGAN-S training cycle: {row['name']} | {plain['name']} | {ratio} |")
    for row in scores["comparisons"]:
        lines.append(f"| {row['comparison']}: {row['ours']} | {row['peer']} | {row['ratio']:.2f} |")
    return "\n".join(lines) + "\n"


SECTIONS = {"claims": table, "measured": measured, "speed": speed}


def readme(text: str) -> str:
    """The README with its tables made anew."""
    for name, make in SECTIONS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, rest = text.split(begin)
        text = head + begin + make() + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    write_text(ROOT / "README.md", readme((ROOT / "README.md").read_text()))
