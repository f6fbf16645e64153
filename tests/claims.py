"""The README's tables, made from committed runs: `python -m tests.claims`."""

from harness.comparison import verified
from harness.config.experiments import open_scale
from harness.doctor import devices, estimate_text
from harness.doctor.estimate import estimate
from harness.files import read_json, write_text
from harness.paths import Checkout
from harness.pipeline.plan import resolve_all
from harness.pipeline.suite import params_of
from harness.records import results
from tests.paths import ROOT


def table() -> str:
    """Markdown: one line per claim."""
    rows = [f"| {name} | {'verified' if held else 'not yet'} |" for name, held in verified.claims(Checkout(ROOT))]
    return "\n".join(["| claim | |", "| --- | --- |", *rows]) + "\n"


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


GPU = "h100"
SCALES = {  # data, Inception and, of scales that were run or need no GPU, what they take
    "quick": ("stand-ins", "stand-in", "minutes on two cores"),
    "cpu": ("CIFAR-10", "trunk, 768 channels", "about three and a half hours on two cores"),
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
            takes += "" if scale.folder.train_records() else "; not yet run"
        lines.append(f"| `{name}` (`{place}`) | {data} | {inception} | {takes} |")
    return "\n".join(lines) + "\n"


SECTIONS = {"claims": table, "measured": measured, "speed": speed, "scales": scales}


def readme(text: str) -> str:
    """The README with its tables made anew."""
    for name, make in SECTIONS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        head, rest = text.split(begin)
        text = head + begin + make() + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    write_text(ROOT / "README.md", readme((ROOT / "README.md").read_text()))
