# SPDX-License-Identifier: Apache-2.0
"""The error of all calls."""

import os
from typing import Optional


class Error(OSError):
    """A failed call: an OSError with the errno, the reason, and the remedy if there is one."""

    reason: str
    remedy: Optional[str]

    def __init__(self, number: int, reason: str = "", remedy: Optional[str] = None) -> None:
        self.reason = reason or os.strerror(number)
        self.remedy = remedy or None
        super().__init__(number, f"{self.reason}; {self.remedy}" if self.remedy else self.reason)

    @classmethod
    def with_text(cls, number: int, text: str) -> "Error":
        """The error of an answer: a line with the reason, and a second line with the remedy."""
        reason, _, remedy = text.partition("\n")
        return cls(number, reason, remedy)

    @classmethod
    def explained(cls, number: int, text: str) -> "Error":
        """The error of a call that explains itself: a list whose last line is the remedy, or a sentence with the error."""
        reason, mark, remedy = text.partition("\nremedy: ")
        if not mark:
            reason, _, remedy = text.partition(f" ({os.strerror(number)})")
        return cls(number, reason, remedy.lstrip("; "))
