"""CSV that people open in a spreadsheet: no text of the records may become a formula there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: What a spreadsheet takes for the start of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def neutral(text: str) -> str:
    """Return text that no spreadsheet takes for a formula.

    Examples
    --------
    >>> neutral("=1+1"), neutral(" @now"), neutral("fine")
    ("'=1+1", "' @now", 'fine')
    """
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def neutralised(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts no spreadsheet takes for formulas; numbers stay as they are.

    Examples
    --------
    >>> import pandas as pd
    >>> neutralised(pd.DataFrame({"n": [-1], "drug": ["=HYPERLINK()"]})).to_dict("list")
    {'n': [-1], 'drug': ["'=HYPERLINK()"]}
    """
    changed = {}
    for name in table.columns:
        column = table[name]
        if column.dtype == object or str(column.dtype) in ("string", "str", "category"):
            texts = {cell for cell in column if isinstance(cell, str)}
            formulas = {text: neutral(text) for text in texts if neutral(text) != text}
            if formulas:
                changed[name] = column.astype(object).map(
                    lambda cell, formulas=formulas: (
                        formulas.get(cell, cell) if isinstance(cell, str) else cell
                    )
                )
    return table.assign(**changed) if changed else table
