"""Names that somebody else chose, of classes, files and folders: enters any name, leaves text that can be shown and stored as what it is.

A file's name on Linux is bytes, which Python holds as a string with lone surrogates where they are no UTF-8; such a string can't be
written anywhere. And a name may hold what a terminal, a spreadsheet or a reader takes for something else: control characters, line ends,
marks that turn the direction of writing.
"""

from __future__ import annotations

import unicodedata

UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's control and format characters, surrogates, ends of lines and paragraphs
JOINERS = "\u200c\u200d"  # format characters that are a part of words and of emoji
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet runs (OWASP, CSV injection)


def shown(name: object) -> str:
    r"""Return the name as printable text of one line, which UTF-8 can hold: `café`, and `caf\xe9` where byte E9 is no UTF-8.

    Characters without a shape of their own become escapes as in Python: `\n`, `\x1b`, `\u202e`. name: text, a path, or what names itself.
    """
    text = str(name)
    if text.isprintable():
        return text
    return "".join(_escaped(character) if unicodedata.category(character) in UNSHOWN else character for character in text)


def cell(name: object) -> str:
    """Return `shown(name)` for a spreadsheet: with an apostrophe before what would be taken for a formula; negative numbers stay."""
    text = shown(name)
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not _is_number(text) else text


def _escaped(character: str) -> str:
    if character in JOINERS:
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8, as os.fsdecode holds it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
