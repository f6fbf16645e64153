"""Which scores a suite asks for: of each row the protocols, what their scorers compute, and the images they need."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.config import protocols, schema
from harness.config.experiments import Scale, pick
from harness.config.protocols import CHOOSER, VARIANTS, Planned, Protocol
from harness.data import card
from harness.errors import HarnessError
from harness.paths import Checkout

if TYPE_CHECKING:
    from harness.pipeline.suite import Row, Suite

TOGETHER = "-and-"  # between the data sets whose hashes one file of references holds


@dataclass(frozen=True)
class Planner:
    """What the rows of a suite are scored by."""

    checkout: Checkout
    suite: "Suite"
    experiments: Mapping[str, schema.Experiment]

    @functools.cached_property
    def known(self) -> dict[str, Protocol]:
        """Every protocol of the checkout."""
        return protocols.load(self.checkout.root)

    def dataset(self, experiment: str) -> str:
        """Return what an experiment is trained on."""
        return self.experiments[experiment].dataset

    def planned(self, experiment: str, row: "Row", of_curve: bool) -> list[Planned]:
        """Return what the suite's scorers compute of a row's dumps, of those that draw its curve or of the others.

        Raises:
            HarnessError: an unknown protocol; one that says nothing of the row's data set, or that no scorer of the
                suite can serve; or none at all.
        """
        dataset, where = self.dataset(experiment), f"suite: {experiment}"
        planned: list[Planned] = []
        of = self.suite.curve if self.suite.curve is not None and of_curve else self.suite
        for name in dict.fromkeys([*of.protocols, *row.protocols]):
            protocol: Protocol = pick(name, self.known, f"protocol in {where}:")
            if protocol.reference(dataset) is None and name not in row.protocols:
                continue
            mine = [protocols.plan(protocol, dataset, s) for s in of.scorers if s in protocol.scorers]
            if not mine:
                raise HarnessError(
                    f"{where}: protocol '{name}' is served by {', '.join(protocol.scorers)}, the suite's scorers are "
                    f"{', '.join(of.scorers)}; add one of the former to `scorers`."
                )
            planned += mine
        if not planned:
            raise HarnessError(f"{where}: no protocol of the suite says anything of '{dataset}'; name one in the row.")
        return planned

    def scored(self, experiment: str, row: "Row", of_curve: bool) -> dict[str, Any]:
        """Return the entries of dumps in params.yaml that say how they are scored; arguments and errors: `planned`."""
        planned = self.planned(experiment, row, of_curve)
        used = [one.quantisation for one in planned]
        return {
            "n_fake": max(one.n_fake for one in planned),
            "variants": [variant for quantisation, variant in VARIANTS.items() if quantisation in used],
            "references": together({one.data for one in planned}),
            "scores": {
                scorer: {one.protocol: one.stamp for one in planned if one.scorer == scorer}
                for scorer in self.suite.scorers
                if any(one.scorer == scorer for one in planned)
            },
        }

    def choice(self, experiment: str) -> dict[str, Any]:
        """Return the entries of a row's choices in params.yaml.

        Raises:
            HarnessError: an unknown protocol, or one that cannot serve.
        """
        protocol: Protocol = pick(self.suite.choose, self.known, "protocol in suite: choose:")
        planned = protocols.plan(protocol, self.dataset(experiment), CHOOSER)
        return {"protocol": planned.protocol, "stamp": planned.stamp, "references": planned.data}

    def references(self) -> dict[str, list[str]]:
        """Return the files of references that the suite's scores need: name -> packed data sets."""
        sets = [
            {one.data for one in self.planned(name, row, of_curve)}
            for name, row in self.suite.rows().items()
            for of_curve in set(map(draws_curve, row.snapshots or ()))
        ]
        chosen = [name for name, row in self.suite.rows().items() if "best" in (row.snapshots or ())]
        sets += [{self.choice(name)["references"]} for name in chosen]
        return {together(names): sorted(names) for names in sets}


def draws_curve(snapshot: str) -> bool:
    """Say whether a snapshot is one at an image count."""
    return snapshot.isdigit()


def together(names: Iterable[str]) -> str:
    """Return the name of the file that holds the hashes of several data sets."""
    return TOGETHER.join(sorted(names))


def all_planned(scale: Scale) -> list[Planned]:
    """Return the distinct scores and choices that a scale plans, of whichever dumps.

    Raises:
        HarnessError: a protocol changed since params.yaml was written.
    """
    found: dict[Planned, None] = {}
    for dump in scale.params.dumps.values():
        for of_scorer in protocols.of_dump(scale, dump.experiment, dump.seed, dump.snapshot).values():
            found |= dict.fromkeys(of_scorer)
    for choice in scale.params.choices.values():
        found[protocols.of_choice(scale, choice.experiment, choice.seed)] = None
    return list(found)


def references(scale: Scale) -> list[str]:
    """Return the packed data sets that a scale's scores are made against."""
    return list(dict.fromkeys(one.data for one in all_planned(scale)))


def check_references(scale: Scale) -> None:
    """Refuse references that cannot be, from the definitions alone; no data is opened.

    Raises:
        HarnessError: a data set that is not defined, more images than it has, or images of another size than the
            samples; or a protocol that changed since params.yaml was written.
    """
    for one in all_planned(scale):
        there = card.definition(one.data, scale.root).count
        if there is not None and one.n_real is not None and one.n_real > there:
            raise HarnessError(
                f"{scale.path}: protocol '{one.protocol}': {one.n_real:,} reals of '{one.data}', which has "
                f"{there:,} images."
            )
    for dump in scale.params.dumps.values():
        mine = card.definition(dump.dataset, scale.root).resolution
        planned = protocols.of_dump(scale, dump.experiment, dump.seed, dump.snapshot)
        for name in {one.data for of_scorer in planned.values() for one in of_scorer}:
            other = card.definition(name, scale.root).resolution
            if other != mine:
                raise HarnessError(
                    f"{scale.path}: samples of '{dump.dataset}' ({mine} px) cannot be held against '{name}' "
                    f"({other} px)."
                )
