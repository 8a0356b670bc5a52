"""A report as Markdown, its figures as files beside it."""

from __future__ import annotations

from magml.report.blocks import (
    Block,
    Bullets,
    Cell,
    Figure,
    Notice,
    Report,
    Table,
    Text,
    plain,
)


def to_markdown(report: Report, folder: str) -> tuple[str, dict[str, bytes]]:
    """Return a report as Markdown, and its figures by name.

    Parameters
    ----------
    report
        The report.
    folder
        Where the figures will lie, seen from the Markdown file.
    """
    figures: dict[str, bytes] = {}
    lines = [f"# {report.title}", report.subtitle]
    if report.tiles:
        lines.append("\n".join(f"- {name}: {plain(cell)}" for name, cell in report.tiles.items()))
    if report.absent:
        lines.append("**Absent:** " + "; ".join(report.absent))
    for section in report.sections:
        lines.append(f"## {section.title}")
        lines += [_block(block, folder, figures) for block in section.blocks]
    return "\n\n".join(line for line in lines if line) + "\n", figures


def _block(block: Block, folder: str, figures: dict[str, bytes]) -> str:
    if isinstance(block, Text):
        return f"**{block.strong}** {block.text}".strip() if block.strong else block.text
    if isinstance(block, Notice):
        return f"> {'**Warning.** ' if block.kind == 'warning' else ''}{block.text}"
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Figure):
        figures[f"{block.name}.png"] = block.png
        return f"![{block.caption}]({folder}/{block.name}.png)"
    return _table(block)


def _table(table: Table) -> str:
    """Return a table; a heading of rows becomes a row in bold."""
    size = len(table.head)
    lines = [_row(table.head), _row(["--:" if k in table.numeric else "---" for k in range(size)])]
    for row in table.rows:
        if len(row) == 1 and size > 1:
            lines.append(_row([f"**{plain(row[0])}**", *[""] * (size - 1)]))
        else:
            lines.append(_row(row))
    text = "\n".join(lines)
    return f"{text}\n\n{table.caption}" if table.caption else text


def _row(cells: tuple[Cell, ...] | list[Cell] | tuple[str, ...] | list[str]) -> str:
    texts = (plain(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return "| " + " | ".join(texts) + " |"
