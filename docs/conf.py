"""How Sphinx builds the documentation: `make docs`. Nothing is fetched from anywhere."""

import xec_magic

project = "xec-magic"
author = "the xec-magic authors"
version = release = xec_magic.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
smartquotes = False  # `--out` in running text must not become a dash and a word
default_role = "code"  # docstrings write `name` for code
highlight_language = "text"
pygments_dark_style = "github-dark"

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"xec-magic {release}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_theme_options = {"top_of_page_buttons": []}


def setup(app):
    app.connect("autodoc-process-signature", _without_constructor)


def _without_constructor(_app, _what, name, _object, _options, _signature, _returns):
    """What users get and never make has no constructor to show."""
    return ("", None) if name in {"xec_magic.Run", "xec_magic.Result", "xec_magic.Outcome"} else None
