"""What torch.compile may do to a network: make it faster, or fail in one of many ways."""

from __future__ import annotations


def not_compiled(error: Exception) -> str:
    """Why a network runs uncompiled, in one line."""
    told = next(iter(str(error).strip().splitlines()), "")
    return f"it cannot be compiled ({type(error).__name__}: {told})"
