"""A display's forms, as notebooks keep them: text, page, widget."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["WIDGET_MIME", "both_forms", "widget_form"]

WIDGET_MIME: Final = "application/vnd.jupyter.widget-view+json"


def both_forms(text: str, page: str) -> dict[str, str]:
    """The data of a display: for terminals and for pages.

    Pages take what stands between two dollar signs for mathematics, unless they are told not to.

    Example:
        >>> both_forms("$HOME", "<pre>$HOME</pre>")["text/html"]
        "<div class='mathjax_ignore'><pre>$HOME</pre></div>"
    """
    return {"text/plain": text, "text/html": f"<div class='mathjax_ignore'>{page}</div>"}


def widget_form(model_id: str) -> dict[str, Any]:
    """The data of a display that is a widget; the other two stand beside it, for those that have none."""
    return {WIDGET_MIME: {"version_major": 2, "version_minor": 1, "model_id": model_id}}
