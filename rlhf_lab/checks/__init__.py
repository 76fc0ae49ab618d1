"""Tests of the labs' exercises: one module for each lab, one function for each thing to get right.

A check takes what the learner wrote, returns nothing, and raises an AssertionError that says what
is wrong. Notebooks call them in the open and in hidden cells alike. nbgrader takes any line on
stderr for a failure, so a check lets no warning out.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def check(test: Callable[..., None]) -> Callable[..., None]:
    """A test that is quiet, and that knows an exercise nobody has begun."""

    @functools.wraps(test)
    def run(answer: Any, *more: Any) -> None:
        origin = inspect.getmodule(answer) if callable(answer) else None
        assert origin is None or not origin.__name__.startswith("rlhf_lab."), (
            f"this is {origin.__name__}.{answer.__name__} itself: the exercise is to write it"
        )
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            try:
                test(answer, *more)
            except NotImplementedError:
                raise AssertionError("this exercise is not written yet") from None

    return run


def called(answer: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What an answer returns; asserts that it leaves the tensors that it is given as they were."""
    before = [x.clone() if isinstance(x, Tensor) else x for x in arguments]
    found = answer(*arguments, **options)
    for number, (now, was) in enumerate(zip(arguments, before, strict=True), 1):
        assert not isinstance(now, Tensor) or torch.equal(now, was), (
            f"argument {number} is not what it was before the call: it was changed in place, and "
            "later cells use it again. Work on a new tensor"
        )
    return found


def returned(found: Any, count: int, what: str) -> None:
    """Assert that ``count`` things were returned, as a tuple or a list."""
    assert found is not None, f"{what}; this returned None: is there a return at its end?"
    assert isinstance(found, tuple | list), f"{what}; this returned a {type(found).__name__}"
    assert len(found) == count, f"{what}; this returned {len(found)}"


def same(found: Any, wanted: Tensor, what: str, hint: str, tolerance: float = 1e-6) -> None:
    """Assert that a tensor is the one that is wanted, and show both where it is not.

    Args:
        what: its name; hint: what may be the reason; tolerance: absolute.
    """
    assert found is not None, (
        f"{what} should be a tensor, and is None: is there a return at the function's end?"
    )
    assert isinstance(found, Tensor), (
        f"{what} should be a tensor, and is a {type(found).__name__}: return what torch computed"
    )
    assert found.shape == wanted.shape, (
        f"{what} should have the shape {tuple(wanted.shape)}, and has {tuple(found.shape)}: {hint}"
    )
    found = found.detach().to("cpu", wanted.dtype)
    off = (found - wanted).abs()
    if not bool((off <= tolerance).all()):  # NaN is not
        worst = tuple(torch.where(off.isnan(), torch.inf, off).flatten().argmax(0, keepdim=True))
        at = torch.unravel_index(worst[0], off.shape)
        place = ", ".join(str(int(i)) for i in at)
        raise AssertionError(
            f"{what}[{place}] should be {float(wanted[at]):.4g}, and is {float(found[at]):.4g}: "
            f"{hint}\nwanted {rounded(wanted)}\n   got {rounded(found)}"
        )


def near(found: Any, wanted: float, what: str, hint: str, tolerance: float = 1e-6) -> None:
    """Assert that a number is the one that is wanted."""
    try:
        number = float(found)  # of a tensor or an array of one element, too
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(
            f"{what} should be one number, and is a {type(found).__name__}: {hint}"
        ) from None
    assert abs(number - wanted) <= tolerance, (
        f"{what} should be {wanted:.4g}, and is {number:.4g}: {hint}"
    )


def rounded(x: Tensor) -> Any:
    """A tensor as lists, short enough to be read."""
    return [rounded(row) for row in x] if x.dim() else round(float(x), 3)
