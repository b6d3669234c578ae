"""What `targets/site` needs beside mdBook.

    site.py stage FOLDER    lays a book out: the pages of docs/SUMMARY.md where they are in the repository, and the files
                            that they link to; a link to a folder leads to its README, or becomes plain text
    site.py check FOLDER    follows the links of a built site
"""
import html.parser
import os
import pathlib
import re
import shutil
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Not behind a backtick, where it would be code.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def inside(page, target):
    """Where a page's link leads, from the top of the repository."""
    return os.path.normpath(os.path.join(os.path.dirname(page), target))


def stage(book):
    source = book / "src"
    summary = (ROOT / "docs/SUMMARY.md").read_text()
    pages = [inside("docs/SUMMARY.md", target) for _, _, target in LINK.findall(summary)]
    for page in (ROOT / "docs").rglob("*.md"):
        if page.name != "SUMMARY.md" and page.relative_to(ROOT).as_posix() not in pages:
            sys.exit(f"{page.relative_to(ROOT)} is not in docs/SUMMARY.md")
    write(source / "SUMMARY.md", LINK.sub(lambda m: f"[{m[2]}]({inside('docs/SUMMARY.md', m[3])})", summary))
    for page in pages:
        write(source / page, LINK.sub(lambda m: link(page, m, pages, source), (ROOT / page).read_text()))
    for name in ("book.toml", "site.css"):
        shutil.copy(ROOT / "docs" / name, book)


def link(page, match, pages, source):
    target, _, anchor = match[3].partition("#")
    if not target or ":" in target:
        return match[0]
    path = inside(page, target)
    if (ROOT / path).is_dir():
        if f"{path}/README.md" not in pages:
            return match[2]
        target, path = f"{target.rstrip('/')}/README.md", f"{path}/README.md"
    if not (ROOT / path).is_file():
        sys.exit(f"{page}: no {match[3]}")
    if path not in pages:
        if path.endswith(".md"):
            sys.exit(f"{page}: {match[3]} is no page of docs/SUMMARY.md")
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path)
    elif path.endswith("README.md"):  # whose page mdBook calls index.html
        target = f"{target.removesuffix('README.md')}index.md"
    return f"{match[1]}[{match[2]}]({target}{'#' if anchor else ''}{anchor})"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.links, self.names = [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.names |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]


def check(site):
    pages = {path: Page(path) for path in site.rglob("*.html")}
    wrong, count = [], 0
    for path, page in pages.items():
        if path.name in ("print.html", "toc.html", "404.html"):
            continue
        for target in page.links:
            parts = urllib.parse.urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            to = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            to = to / "index.html" if to.is_dir() else to
            anchor = urllib.parse.unquote(parts.fragment)
            if not to.is_file() or anchor and to in pages and anchor not in pages[to].names:
                wrong.append(f"{path.relative_to(site)}: {target}")
    print("\n".join(wrong) or f"{len(pages)} pages, {count} links", file=sys.stderr if wrong else sys.stdout)
    return not wrong and len(pages) > 10


if __name__ == "__main__":
    command, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    if command == "stage":
        stage(folder)
    elif not check(folder):
        sys.exit(1)
