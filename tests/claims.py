"""What pages say of committed runs, made from these: `python -m tests.claims`."""

import contextlib
import io
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from html import unescape

import pandas as pd

from harness.comparison import field_worth, protocols, run_tables, table_formats, verified, words
from harness.comparison.table_formats import NONE
from harness.config.experiments import load_datasets, open_scale
from harness.doctor import devices, estimate_text
from harness.doctor.estimate import estimate
from harness.files import read_json, write_text
from harness.paths import Checkout, ScaleFolder
from harness.pipeline import suite
from harness.pipeline.plan import resolve_all
from harness.pipeline.suite import params_of
from harness.records import results
from harness.report import finding
from tests.paths import ROOT


def table() -> str:
    """Markdown: one line per claim."""
    rows = [f"| {name} | {'verified' if held else 'not yet'} |" for name, held in verified.claims(Checkout(ROOT))]
    return "\n".join(["| claim | |", "| --- | --- |", *rows]) + "\n"


NEWEST = "mini"  # scale on real data, the one to show first
WIDTH = 116  # characters of a line of prose


def measured() -> str:
    """Markdown: what the newest scale found, its last snapshots as a table, its first figure."""
    folder, found = ScaleFolder(ROOT / "results" / NEWEST), results.load(ROOT / "results" / NEWEST)
    about = suite.read(Checkout(ROOT), NEWEST).about
    figure = next(path for scorer in finding.SCORERS for path in sorted(folder.report.glob(f"fid-*-{scorer}*.svg")))
    said = re.search(r"<desc[^>]*>(.*?)</desc>", figure.read_text(encoding="utf-8"), re.DOTALL)
    assert said, f"{figure} does not say what it shows"
    sizes = {name: one["count"] for name, one in load_datasets(ROOT).items() if "count" in one}
    paragraphs = [
        f"[`results/{NEWEST}`](results/{NEWEST}): {about}.",
        *(f"**{sentence}**" for sentence in finding.answers(pd.read_csv(folder.check / "claims.csv"))),
        *finding.findings(found, sizes),
    ]
    picture = f"![{unescape(said[1])}]({figure.relative_to(ROOT)})"
    return "\n\n".join([*map(_wrapped, paragraphs), last_scores(found, sizes), _wrapped(picture)]) + "\n"


def last_scores(found: results.Results, sizes: Mapping[str, int]) -> str:
    """Markdown: FID of every model's last snapshot under the protocol that most share, named.

    By the data set trained on, that of most models first, then by FID, lowest first; `sizes`: data set -> its images.
    """
    scores, common = found.scores, protocols.common_protocols(found.scores)
    scorers = [name for name in finding.SCORERS if name in common]
    sets, trained_on = finding.training_sets(scores), finding.trained_on(scores)
    (layer,) = set(scores["layer"])
    fids = [f"FID-{layer}, {finding.SCORERS[one]}" for one in scorers]
    heads = ["model", "trained on, images", "images seen", *fids, "seeds", "hours"]
    rows = []
    for experiment, part in scores[scores["snapshot"] == "last"].groupby("experiment", sort=True):
        columns = [part[(part["scorer"] == one) & (part["protocol"] == common[one])]["fid"] for one in scorers]
        means = [run_tables.mean_sd(column) for column in columns]
        shown = [words.mean_sd("x", 2)({"x": mean, "x_sd": sd}) for mean, sd in means]
        seeds = sorted(set(part["seed"]))
        cost = run_tables.cost(found.training, str(experiment), seeds)
        hours = (cost["gpu_hours"] or 0) + (cost["cpu_hours"] or 0)
        trained, seen = str(trained_on[part.index[0]]), int(part["nimg"].iloc[0])
        of = f"{sizes[trained]:,}" if seen else NONE
        cells = [str(experiment), of, f"{seen:,}", *shown, str(len(seeds)), f"{hours:.1f}"]
        rows.append((sets.index(trained), means[0][0], f"| {' | '.join(cells)} |"))
    rule = ["---", *["---:"] * (len(heads) - 1)]
    chosen = scores[(scores["scorer"] == scorers[0]) & (scores["protocol"] == common[scorers[0]])]
    said = _wrapped(
        f"The last snapshots, {finding.counts(chosen.iloc[0].to_dict())}; ± is the standard deviation over seeds, "
        "hours are device hours of training, summed over the seeds:"
    )
    return "\n".join(
        [said, "", f"| {' | '.join(heads)} |", f"| {' | '.join(rule)} |", *(line for *_, line in sorted(rows))]
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def speed() -> str:
    """Markdown: every ratio of the committed benches, one line per comparison, and what a card does in a second."""
    names = ("scores", "train-cpu", "train-gpu", "sampling-gpu")
    scores, cpu, gpu, sampling = (read_json(ROOT / f"results/bench/{name}.json") for name in names)
    machine = scores["machine"]
    assert cpu["machine"] == f"{machine['cpu']}, {machine['cpu_count']} cores", "both benches are of one machine"
    lines = [f"Measured on {cpu['machine']}, and where it says GPU on {gpu['machine']}.", ""]
    lines += ["| what | beside | times as fast |", "| --- | --- | --- |"]
    for train, where in ((cpu, ""), (gpu, " (GPU)")):
        plain, *variants = train["rows"]
        for row in variants:
            if row["ratio"]:
                cells = f"TransGAN-S training cycle: {row['name']}{where}", plain["name"], f"{row['ratio']:.2f}"
                lines.append(f"| {' | '.join(cells)} |")
    for row in scores["comparisons"]:
        lines.append(f"| {row['comparison']}: {row['ours']} | {row['peer']} | {row['ratio']:.2f} |")
    fast, sec = gpu["rows"][-1], sum(row["papers_sec"] for row in sampling["rows"] if "768" not in row["name"])
    said = (
        f"On the GPU the compiled step trains on {fast['images_per_sec']:,.0f} real images a second, "
        f"{fast['ceiling_share'] * 100:.0f} % of the card's measured matrix product in bfloat16. At the rates of "
        f"{sampling['rows'][0]['images']:,} samples, with stand-in weights, 50,000 would be drawn and scored "
        f"(IS and FID at 2048 channels) in {sec:.0f} s."
    )
    return "\n".join([*lines, "", _wrapped(said)]) + "\n"


GPU = "h100"
SCALES = {  # data, Inception and, of scales that were run or need no GPU, what they take
    "quick": ("stand-ins", "stand-in", "minutes on two cores"),
    "mini": ("CIFAR-10 at 16 px", "trunk, 768 channels", "half an hour a row on one core"),
    "short": ("CIFAR-10", "trunk, 768 channels", ""),
    "checkpoints": ("CIFAR-10, STL-10, CelebA", "official", ""),
    "paper": ("CIFAR-10, STL-10, CelebA", "official", ""),
}


def scales() -> str:
    """Markdown: every scale with its cost, estimated for one named card where it needs one."""
    checkout = Checkout(ROOT)
    card = devices.read(checkout).gpus[GPU].name
    lines = [f"| scale | data | Inception | what it takes (one {card}) |", "| --- | --- | --- | --- |"]
    for name, (data, inception, takes) in SCALES.items():
        scale = open_scale(params_of(checkout, name))
        place = scale.path.name if scale.path.parent == ROOT else str(scale.path.parent.relative_to(ROOT))
        if not takes:
            runs, problems = resolve_all(scale)
            assert not problems, problems
            machine = devices.machine(checkout, "cuda", scale.params.threads, GPU)
            takes = estimate_text.short(estimate(scale, runs, machine))
            done, planned = len(scale.folder.train_records()), len(scale.params.runs)
            takes += f"; {done} of {planned} trainings run" if done else "; not yet run"
        lines.append(f"| `{name}` (`{place}`) | {data} | {inception} | {takes} |")
    return "\n".join(lines) + "\n"


def effects() -> str:
    """Markdown: what each field of a protocol is worth, a table for each Inception network."""
    parts = []
    for one in field_worth.tables(Checkout(ROOT)):
        parts += [table_formats.markdown(replace(one, note="")), _wrapped(one.note) + "\n"]
    return "\n".join(parts)


def example() -> str:
    """Markdown: what the Python example of docs/ledger.md prints, run in the checkout's root."""
    page = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
    code = re.search(r"^```python\n([^`]*)^```\n\n<!-- example -->", page, re.MULTILINE)
    assert code, "the example stands above what it prints"
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code[1], "docs/ledger.md", "exec"), {})
    return f"```text\n{printed.getvalue()}```\n"


SECTIONS: dict[str, dict[str, Callable[[], str]]] = {  # page -> block -> what it says
    "README.md": {"claims": table, "measured": measured, "speed": speed, "scales": scales},
    "docs/ledger.md": {"example": example},
    "docs/protocol.md": {"effects": effects},
}


def again(page: str) -> str:
    """The text of a page with its blocks made anew."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, make in SECTIONS[page].items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, rest = text.split(begin)
        text = head + begin + make() + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    for page in SECTIONS:
        write_text(ROOT / page, again(page))
