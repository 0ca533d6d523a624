"""The front page as one document.

Its style and script stand in it, so that during a roll none of it comes from another release than
the rest, and its policy names them by their hashes, so that nothing else can run in it.
"""

import base64
import hashlib
from pathlib import Path

_FOLDER = Path(__file__).parent / "page"


def page() -> tuple[str, str]:
    """The document, and its Content-Security-Policy."""
    document = (_FOLDER / "page.html").read_text(encoding="utf-8")
    hashes = []
    for name in ("page.css", "page.js"):
        text = (_FOLDER / name).read_text(encoding="utf-8")
        document = document.replace(f"{{{{ {name} }}}}", text)
        digest = hashlib.sha256(text.encode()).digest()
        hashes.append(f"'sha256-{base64.b64encode(digest).decode()}'")
    return document, (
        f"default-src 'none'; style-src {hashes[0]}; script-src {hashes[1]}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
