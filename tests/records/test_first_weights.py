"""How much of its initialisation a generator's average still holds, beside the average itself."""

from types import SimpleNamespace

import pytest
import torch

from harness.comparison import words
from harness.config.schema import Ema
from harness.records.train_record import first_weights
from harness.training.ema import Average

EMAS = {
    "none": Ema(),
    "fixed": Ema("fixed", 0.9),
    "half-life": Ema("half-life", half_life_nimg=100),
    "ramp": Ema("half-life", half_life_nimg=100, ramp=0.05),
    "later": Ema("fixed", 0.9, start_nimg=16),
}


@pytest.mark.parametrize("name", EMAS)
def test_the_share_is_what_the_average_keeps(name: str) -> None:
    """A network that was 1 and is 0 from its first step on: its average is the share of the first weights."""
    batch, n_critic = 8, 2
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(network.weight)
    average = Average(network, EMAS[name])
    torch.nn.init.zeros_(network.weight)
    for nimg in range(0, 160, batch):
        if (nimg // batch) % n_critic == 0:
            average.update(nimg, batch)
    record = SimpleNamespace(recipe={"ema": vars(EMAS[name]), "discriminator_batch": batch, "n_critic": n_critic})
    assert first_weights(record, 160) == pytest.approx(average.module.weight.item(), rel=1e-5)  # type: ignore[arg-type]
    assert first_weights(SimpleNamespace(recipe={}), 160) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "said"), [(0.286, True), (0.004, False), (1.0, False), (None, False)])
def test_a_table_says_it_from_one_percent_on(share: float | None, said: bool) -> None:
    row = {"stand_in_data": False, "stand_in_inception": False, "partial": False, "layer": 2048, "caveats": ()}
    assert words.caveats(row | {"first_weights": share}) == (
        ["average holds 29 % of the first weights"] if said else []
    )
