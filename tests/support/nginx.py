"""What lets nginx judge a configuration without root."""

import re

# A port below 1024.
_LISTEN = re.compile(r"(\blisten (?:\S+:)?)(\d{1,3})(?=[ ;])")

_KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def unprivileged(text: str, temporary: object = "") -> str:
    """Make a configuration of nginx one that anybody may check.

    Args:
        text: the configuration, or a part of it.
        temporary: a folder for what nginx keeps in the distribution's otherwise; "" for none.

    Returns:
        The same with ports from 20000 on in place of those below 1024, and no log of all requests.
    """
    text = _LISTEN.sub(lambda match: f"{match[1]}{int(match[2]) + 20000}", text)
    own = "".join(f"    {kind}_temp_path {temporary}/{kind};\n" for kind in _KINDS)
    head = "\nhttp {\n    access_log off;\n" + (own if temporary else "")
    return text.replace("\nhttp {\n", head, 1)
