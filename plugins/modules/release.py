#!/usr/bin/python
"""The module `release`: packages become a release on the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.release import (
    LOCK,
    ReleaseError,
    build,
    complete,
    identify,
    is_program,
    resolve,
)

DOCUMENTATION = r"""
module: release
short_description: Build a release of an app from packages, unless there is one of the same
description:
  - Has pip resolve the packages, and names the release by the lock that comes of it, every version
    and hash.
  - Installs what is locked in a virtual environment of its own, where there is no whole one yet.
    What an interrupted build has left is removed before.
  - In check mode it resolves and predicts.
author: the tornado-drain authors
options:
  packages:
    description: What pip takes, names or paths on the host.
    type: list
    elements: str
    required: true
  requested:
    description: The packages as the user has named them, for messages.
    type: list
    elements: str
    required: true
  pip_arguments:
    description: For every C(pip install), such as C(--index-url).
    type: list
    elements: str
    default: []
  python:
    description: The Python that the release is made with.
    type: str
    required: true
  tools:
    description: The Python whose pip does the work.
    type: str
    required: true
  dest:
    description: The folder of all releases.
    type: str
    required: true
  command:
    description:
      - How the app is started. Its first word must be a program that the packages install, or the
        absolute path of a program on the host.
    type: str
    required: true
  resolve:
    description:
      - Whether pip can be asked. In a check of a host that lacks the tools or a wheel it can't, and
        the release is not named.
    type: bool
    default: true
  owner:
    description: Of the lock, a name or number.
    type: str
  group:
    description: As O(owner).
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Ensure the release is installed
  tornado_drain.deploy.release:
    packages: [/opt/shop/wheels/0f1e2d3c4b5a/app-1.0-py3-none-any.whl, prometheus-client]
    requested: [./app, prometheus-client]
    python: /usr/bin/python3
    tools: /opt/shop/tools/bin/python
    dest: /opt/shop/releases
    command: app --port={port}
    group: shop
"""

RETURN = r"""
id:
  description: The name of the release, V(not-built-yet) where pip could not be asked.
  type: str
  returned: success
  sample: 0f1e2d3c4b5a
"""


def main() -> None:
    """Run the module."""
    of_user: dict[str, Any] = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "packages": of_user,
            "requested": of_user,
            "pip_arguments": {"type": "list", "elements": "str", "default": []},
            "python": {"required": True},
            "tools": {"required": True},
            "dest": {"required": True},
            "command": {"required": True},
            "resolve": {"type": "bool", "default": True},
            "owner": {},
            "group": {},
        },
        supports_check_mode=True,
    )
    given = module.params
    if not given["resolve"]:
        module.exit_json(changed=True, id="not-built-yet")
    how = given["tools"], given["python"], given["pip_arguments"]
    try:
        locked = resolve(*how, given["packages"])
    except ReleaseError as error:
        module.fail_json(
            msg=f"tornado_app_packages: got {json.dumps(given['requested'])}; "
            f"expected what pip can install, but it says: {error}"
        )
    release = Path(given["dest"], identify(locked))
    missing = not (release / LOCK).exists()
    if missing and module.check_mode:
        module.exit_json(changed=True, id=release.name)

    def give(path: str) -> None:
        module.set_owner_if_different(path, given["owner"], False)
        module.set_group_if_different(path, given["group"], False)

    program = (given["command"].split() or [""])[0]
    try:
        if missing:
            build(release, *how, locked)
        if not is_program(program, release):
            module.fail_json(
                msg=f"tornado_app_command: got {json.dumps(given['command'])}; expected a program "
                f"that tornado_app_packages install, or an absolute path: {program} is neither"
            )
        if missing:
            complete(release, locked, give)
    except (OSError, ReleaseError) as error:
        module.fail_json(msg=f"release: {release} could not be built: {error}")
    module.exit_json(changed=missing, id=release.name)


if __name__ == "__main__":
    main()
