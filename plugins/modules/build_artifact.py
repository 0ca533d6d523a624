#!/usr/bin/python
"""The module `build_artifact`: has pip on a host resolve packages, or make wheels of them."""

from __future__ import annotations

import base64
import json
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.artifact import ArtifactError, Pip
from ..module_utils.interpreter import about, fits, title

DOCUMENTATION = r"""
module: build_artifact
short_description: Has pip on a host resolve packages, or make wheels of them
version_added: 1.2.0
author: the tornado-drain authors (@tornado-drain)
description:
  - Changes nothing on the host but for a folder that goes in the end.
  - The action plugin P(tornado_drain.deploy.artifact#module) calls it, where the controller cannot
    build what fits the host.
options:
  parcel:
    description: The path of a zip file with pip and the wheels of local sources.
    type: path
    required: true
  order:
    description: What is asked, as C(Pip) in C(module_utils/artifact.py) takes it.
    type: dict
    required: true
  credentials:
    description: Those of the order, as JSON.
    type: str
    required: true
  lock:
    description: The lock whose wheels are asked for; without it, the packages are resolved.
    type: list
    elements: str
  platform:
    description: Of the Python that the wheels have to fit; its C(path) is asked here.
    type: dict
    required: true
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
  diff_mode:
    description: Nothing is changed in any mode.
    support: none
"""

EXAMPLES = r"""
- name: Resolve
  tornado_drain.deploy.build_artifact:
    parcel: /tmp/parcel.zip
    order:
      requirements: [tornado]
      constraints: []
      hashed: []
      options: []
      wheels: []
      arguments: []
    credentials: "[]"
    platform: "{{ host.platform }}"
"""

RETURN = r"""
lock:
  description: What pip has resolved.
  type: list
  elements: str
  returned: without O(lock)
wheels:
  description: A tar file of the wheels, in base64.
  type: str
  returned: with O(lock)
output:
  description: All that pip said.
  type: str
  returned: on failure
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "parcel": {"type": "path", "required": True},
            "order": {"type": "dict", "required": True},
            "credentials": {"type": "str", "required": True, "no_log": True},
            "lock": {"type": "list", "elements": "str"},
            "platform": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted, found = given["platform"], about(given["platform"]["path"])
    if not fits(found, wanted):
        here = f"{title(found)}, {found['libc']}" if found else "nothing"
        module.fail_json(
            msg=f"{wanted['path']} is {here} here; {title(wanted)}, {wanted['libc']} is needed"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(given["parcel"]) as parcel:
            parcel.extractall(folder)
        os.environ["PYTHONPATH"] = name
        order = given["order"] | {"credentials": json.loads(given["credentials"])}
        pip = Pip([found["path"], "-m", "pip"], order, folder / "wheels")
        try:
            if given["lock"] is None:
                module.exit_json(changed=False, lock=pip.resolve())
            (folder / "made").mkdir()
            pip.wheels(given["lock"], folder / "made")
        except ArtifactError as error:
            module.fail_json(msg=str(error), output=error.output)
        archive = folder / "wheels.tar"
        with tarfile.open(archive, "w") as tar:
            for wheel in sorted((folder / "made").glob("*.whl")):
                tar.add(wheel, wheel.name)
        module.exit_json(changed=False, wheels=base64.b64encode(archive.read_bytes()).decode())


if __name__ == "__main__":
    main()
