"""Errors that a user can act on.

Every check of outside input raises :class:`InputError`. Its message is one line that names the
argument, the value received, what is allowed, and the fix; the command line prints that line and
exits with code 2.
"""

from __future__ import annotations


class InputError(ValueError):
    """Outside input that cannot be used: a wrong argument, file, record or combination.

    Args:
        argument: the name the caller knows it by, for example ``"beta"`` or ``"--model"``.
        value: what was received; shortened to 120 characters in the message.
        allowed: what would have been accepted.
        fix: what the caller can do now.
    """

    def __init__(self, argument: str, value: object, allowed: str, fix: str) -> None:
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        self.argument = argument
        self.value = value
        self.allowed = allowed
        self.fix = fix
        message = f"{argument}: got {shown}; allowed: {allowed}; fix: {fix}"
        super().__init__(" ".join(message.split()))


class CheckpointError(InputError):
    """A checkpoint that is missing, truncated, altered, or made by another configuration."""


class DivergenceError(RuntimeError):
    """Training produced a value that is not finite; the last good checkpoint is kept."""
