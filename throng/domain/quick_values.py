"""Values of which several are made for every message: to type checkers frozen dataclasses, and made as fast as plain ones.

Making a frozen dataclass takes four times as long as a plain one (1.1 µs against 0.26 for nine fields), because each field is set
by a call, and a message is some ten of them on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as quick_value
else:
    import dataclasses

    def quick_value(*, frozen: bool, slots: bool) -> Any:
        """As `dataclass(frozen=True, slots=True)`; that nothing is assigned to is checked by mypy and not when it runs."""
        if not frozen or not slots:
            raise TypeError("a quick value is frozen and has slots")
        return dataclasses.dataclass(slots=True, unsafe_hash=True)


__all__ = ["quick_value"]
