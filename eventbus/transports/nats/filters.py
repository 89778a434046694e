"""Our patterns as subject filters of NATS, and how such filters relate; pure.

In a filter `*` is exactly one segment, as with us, and a final `>` is one or more.
"""

from __future__ import annotations

from ...patterns import is_literal

#: The filter that lets everything pass.
ALL = ">"


def subject_filters(pattern: str) -> tuple[list[str], bool]:
    """Filters that let everything pass that a canonical pattern matches.

    Returns:
        Filters that do not overlap, and whether nothing else passes them.
    """
    head, mark, tail = pattern.partition("**")
    if not mark:
        return [pattern], True
    fixed = head.rstrip(".")
    if tail:
        return [f"{fixed}.>" if fixed else ALL], False
    if not fixed:
        return [ALL], True
    if fixed.endswith("*"):
        # One segment or more: what `>` means.
        return [f"{fixed.removesuffix('*')}>"], True
    return [fixed, f"{fixed}.>"], True


def broadest(filters: list[str]) -> str:
    """One filter that lets pass what several do, which `subject_filters` returned."""
    if len(filters) == 1:
        return filters[0]
    above = filters[0].rpartition(".")[0]
    return f"{above}.>" if above else ALL


def first_segment(pattern: str) -> str | None:
    """The first segment, where it is no wildcard."""
    first = pattern.partition(".")[0]
    return first if is_literal(first) else None


def covers(broad: str, narrow: str) -> bool:
    """Whether everything that passes the narrow filter passes the broad one."""
    wide, thin = broad.split("."), narrow.split(".")
    for index, segment in enumerate(wide):
        if segment == ">":
            return len(thin) > index
        if index >= len(thin) or thin[index] == ">":
            return False
        if segment not in ("*", thin[index]):
            return False
    return len(wide) == len(thin)


def collide(one: str, other: str) -> bool:
    """Whether any subject passes both filters."""
    left, right = one.split("."), other.split(".")
    for mine, yours in zip(left, right, strict=False):
        if ">" in (mine, yours):
            return True
        if mine != yours and "*" not in (mine, yours):
            return False
    return len(left) == len(right)
