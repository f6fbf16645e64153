"""What tests and first runs showed, claim by claim: the table of README and page."""

from harness.files import read_json
from harness.paths import Checkout

EXACT = "exact: "  # of a model whose forward pass a test compared
SELF_TEST = "IS and FID of real CIFAR-10 with the official Inception at 2048 channels"


def claims(checkout: Checkout) -> list[tuple[str, bool]]:
    """Return every claim with whether it holds, those that do first; exact models are gathered into one.

    From `results/verified.json`, which a test run writes, and from what `harness score --self-test` found; nothing
    where no test run was recorded.

    Raises:
        HarnessError: a file that is no JSON.
    """
    if not checkout.verified.is_file():
        return []
    found = {name: bool(value["holds"]) for name, value in read_json(checkout.verified).items()}
    found |= dict([_first_contact(checkout)])
    exact = {name.removeprefix(EXACT): held for name, held in found.items() if name.startswith(EXACT)}
    rows = [
        (f"forward pass equals the golden numbers: {', '.join(sorted(n for n, h in exact.items() if h == held))}", held)
        for held in (True, False)
        if held in exact.values()
    ]
    rows += [(name, held) for name, held in sorted(found.items()) if not name.startswith(EXACT)]
    return sorted(rows, key=lambda row: not row[1])


def _first_contact(checkout: Checkout) -> tuple[str, bool]:
    """The claim that `harness score --self-test` examines, with what it found where it ran."""
    if not checkout.self_test.is_file():
        return f"{SELF_TEST}: `harness score --self-test`", False
    said = read_json(checkout.self_test)
    found, known = said["found"], said["known"]
    figures = f"{found['is_mean']:.2f} (known {known['is_mean']}) and {found['fid']:.2f} (known {known['fid']})"
    return f"{SELF_TEST}: {figures}, {said['file']}, sha256 {said['sha256'][:12]}", bool(said["holds"])
