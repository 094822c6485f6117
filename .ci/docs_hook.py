"""mkdocs' hook: pages that the package ships or makes, and links to what is no page."""

import re
from importlib import resources

from mkdocs.structure.files import File

from zygote.control import reference

_HELP = re.compile(r"\]\((?:\.\./)+zygote/help/([a-z-]+)\.md(#[^)]*)?\)")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:(?:\.\./)+|examples/)[^)]*\)")


def pages():
    """`zygotectl help`'s pages, and the control interface: name -> text."""
    found = {
        path.name: path.read_text(encoding="utf-8")
        for path in resources.files("zygote.help").iterdir()
        if path.name.endswith(".md")
    }
    return dict(sorted({**found, "control-interface.md": reference.page()}.items()))


def on_config(config):
    """They stand last in the list of pages."""
    config.nav.append({"Reference": [f"reference/{name}" for name in pages()]})
    return config


def on_files(files, config):
    """Add them as pages that no file stands for."""
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}", content=text))
    return files


def on_page_markdown(markdown, page, **_):
    """Links to the package's pages lead to theirs here; links to other files become their names."""
    up = "" if page.file.src_uri.startswith("reference/") else "reference/"
    markdown = _HELP.sub(lambda m: f"]({up}{m[1]}.md{m[2] or ''})", markdown)
    return _OUTSIDE.sub(r"\1", markdown)
