"""Replaces what stands between two comments of a Markdown file: `<!-- NAME begin -->` and `<!-- NAME end -->`."""
import sys


def replace_section(path, name, text):
    begin, end = f"<!-- {name} begin -->", f"<!-- {name} end -->"
    whole = path.read_text()
    if whole.count(begin) != 1 or whole.count(end) != 1:
        sys.exit(f"{path}: '{begin}' and '{end}' are needed, once each")
    before, rest = whole.split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")
