#!/usr/bin/python
"""The module `install_release`: wheels that were sent become a release."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.release import ReleaseError, build, complete, install, is_program

DOCUMENTATION = r"""
module: install_release
short_description: Installs wheels as a release
version_added: 1.2.0
author: the tornado-drain authors (@tornado-drain)
description:
  - Makes a virtual environment of wheels that were sent, and asks no index.
  - The action plugin P(tornado_drain.deploy.release#module) calls it.
options:
  release:
    description: The folder of the release. What is there goes.
    type: path
  into:
    description: A virtual environment that is there, in place of a release.
    type: path
  python:
    description: The Python that the release is made with.
    type: str
  pip:
    description: A Python that has pip.
    type: str
    required: true
  pip_arguments:
    description: For C(pip install), such as C(--no-compile).
    type: list
    elements: str
    default: []
  archive:
    description: The path of a tar file with the wheels.
    type: path
    required: true
  wheels:
    description: Their SHA-256 by their names.
    type: dict
    required: true
  lock:
    description: What the release is marked with, when it is whole.
    type: str
    required: true
  program:
    description: What the release must have, or an absolute path on the host.
    type: str
  owner:
    description: Of the lock, a name or number.
    type: str
  group:
    description: As O(owner).
    type: str
attributes:
  check_mode:
    support: none
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Install
  tornado_drain.deploy.install_release:
    release: /opt/shop/releases/0f1e2d3c4b5a
    python: /usr/bin/python3
    pip: /opt/shop/tools/bin/python
    archive: /tmp/wheels.tar
    wheels: {shop-1.0-py3-none-any.whl: 0a1b2c}
    lock: "shop==1.0"
    program: shop
"""

RETURN = r"""
lacking:
  description: Whether it lacks the program, and so was not marked as whole.
  type: bool
  returned: where it does
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "path"},
            "into": {"type": "path"},
            "python": {},
            "pip": {"required": True},
            "pip_arguments": {"type": "list", "elements": "str", "default": []},
            "archive": {"type": "path", "required": True},
            "wheels": {"type": "dict", "required": True},
            "lock": {"required": True},
            "program": {},
            "owner": {},
            "group": {},
        },
        required_one_of=[("release", "into")],
    )
    given = module.params

    def give(path: str) -> None:
        module.set_owner_if_different(path, given["owner"], False)
        module.set_group_if_different(path, given["group"], False)

    pip = [given["pip"], *given["pip_arguments"]]
    what = pip, Path(given["archive"]), given["wheels"]
    try:
        if given["into"]:
            install(Path(given["into"]), *what)
            module.exit_json(changed=True)
        release = Path(given["release"])
        build(release, given["python"], *what)
        if not is_program(given["program"], release):
            module.exit_json(changed=False, lacking=True)
        complete(release, given["lock"], give)
    except (OSError, ReleaseError) as error:
        module.fail_json(msg=f"release: {given['release']} could not be built: {error}")
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
