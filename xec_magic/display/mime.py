"""A display's two forms, as notebooks keep them."""

from __future__ import annotations

__all__ = ["both_forms"]


def both_forms(text: str, page: str) -> dict[str, str]:
    """The data of a display: for terminals and for pages.

    Pages take what stands between two dollar signs for mathematics, unless they are told not to.

    Example:
        >>> both_forms("$HOME", "<pre>$HOME</pre>")["text/html"]
        "<div class='mathjax_ignore'><pre>$HOME</pre></div>"
    """
    return {"text/plain": text, "text/html": f"<div class='mathjax_ignore'>{page}</div>"}
