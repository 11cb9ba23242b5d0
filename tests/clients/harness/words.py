"""The words that the pages can say, as they stand in the sources, and which of them nobody saw."""

import re

from .install import PROJECT

PAGES = PROJECT / "src" / "http" / "pages"
TEMPLATES = (PAGES, PROJECT / "src" / "demo" / "pages")
# Where a text with a space in it is one that people read.
SOURCES = (PAGES, PROJECT / "src" / "http" / "index.rs", PROJECT / "src" / "http" / "authorize.rs")


def unseen(texts):
    """`(file, words)` of everything that none of `texts` shows."""
    seen = [plain(text) for text in texts]
    return [
        (file.relative_to(PROJECT), text)
        for file, text in every()
        if not any(text in shown for shown in seen)
    ]


def every():
    """`(file, words)` of everything that the pages can say."""
    for folder in TEMPLATES:
        for file in sorted(folder.glob("*.html")):
            yield from ((file, text) for text in worded(of_template(file.read_text())))
    for source in SOURCES:
        for file in sorted(source.glob("*.rs")) if source.is_dir() else [source]:
            # A file without a word was not understood.
            texts = worded(of_rust(file.read_text())) or ["(the words of this file)"]
            yield from ((file, text) for text in texts)


def worded(texts):
    return [plain(text) for text in texts if re.search(r"\w", text)]


def of_template(text):
    """What stands between tags, and between what is filled in."""
    text = re.sub(r"\{[{%#].*?[}%#]\}", "\0", text, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", "\0", text).split("\0")


def of_rust(text):
    """Texts of more than one word, between what is filled in."""
    text = text.partition("#[cfg(test)]")[0]
    text = "\n".join(line for line in text.splitlines() if not line.strip().startswith(("//", "#[")))
    for literal in re.findall(r'"((?:[^"\\]|\\.)*)"', text, flags=re.DOTALL):
        literal = re.sub(r"\\\n\s*", "", literal)
        if " " in literal.strip():
            yield from re.split(r"\{[^}]*\}", literal)


def plain(text):
    return " ".join(text.split())
