"""The law of finished runs: made from known numbers, found again; nonsense refused."""

from __future__ import annotations

import numpy as np
import pytest

from rlhf_lab.errors import InputError
from rlhf_lab.lineage.predictable import LossLaw, through_three, with_exponent, with_floor

FLOPS = (1e13, 6e13, 3e14)


@pytest.mark.parametrize("b", [-0.05, -0.3, -1.2])
@pytest.mark.parametrize("floor", [0.0, 0.7])
def test_the_law_behind_three_losses_is_found(b: float, floor: float) -> None:
    law = LossLaw(a=0.8 * 1e13**-b, b=b, c=floor)
    losses = tuple(law.loss(c) for c in FLOPS)
    found = through_three(FLOPS, losses)
    assert (found.b, found.c) == pytest.approx((b, floor), rel=1e-6, abs=1e-7)
    assert found.loss(1e16) == pytest.approx(law.loss(1e16), rel=1e-8)
    two, first = FLOPS[:2], losses[:2]
    for assumed in (with_floor(two, first, floor), with_exponent(two, first, b)):
        assert assumed.loss(FLOPS[2]) == pytest.approx(losses[2], rel=1e-9)
    assert law.loss(np.array(FLOPS)) == pytest.approx(losses)


@pytest.mark.parametrize(
    "losses",
    [
        (1.0, 1.1, 0.9),  # not falling
        (1.3, 1.2, 0.9),  # falling ever faster
        (1.3, 1.3, 0.9),
    ],
)
def test_losses_of_no_law_are_refused(losses) -> None:
    with pytest.raises(InputError, match="losses"):
        through_three(FLOPS, losses)


def test_assumptions_that_cannot_be() -> None:
    with pytest.raises(InputError, match="^floor"):
        with_floor(FLOPS[:2], (1.3, 1.0), 1.0)
    with pytest.raises(InputError, match="^exponent"):
        with_exponent(FLOPS[:2], (1.3, 1.0), 0.1)
    with pytest.raises(InputError, match="sort the runs"):
        with_floor((6e13, 1e13), (1.3, 1.0), 0.0)
