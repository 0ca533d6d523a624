#!/usr/bin/python
"""What ansible-doc says of the action `artifact`, which has its code in plugins/action."""

DOCUMENTATION = r"""
module: artifact
short_description: Resolves packages and builds their wheels, once for all hosts
version_added: 1.2.0
author: the tornado-drain authors (@tornado-drain)
description:
  - Has pip resolve packages and make a wheel of each. Both are kept on the controller, by what was
    asked; as long as that is the same, no index is asked.
  - It is done on the controller, where that has a Python of the host's version and platform, or on
    the host that the task is for. What the other hosts of the platform get is the same.
  - Hosts are not changed.
options:
  packages:
    description: Names, as pip takes them, or paths of projects and wheels on the controller.
    type: list
    elements: str
    default: []
  requirements:
    description: The path of a requirements file on the controller.
    type: str
    default: ""
  constraints:
    description: The path of a constraints file on the controller.
    type: str
    default: ""
  lock:
    description: The path of a file on the controller that keeps what was resolved.
    type: str
    default: ""
  refresh:
    description: Whether to resolve anew, once in a run.
    type: bool
    default: false
  pip_arguments:
    description: For pip, such as C(--index-url).
    type: list
    elements: str
    default: []
  platform:
    description: The C(platform) that M(tornado_drain.deploy.host_facts) tells of the host.
    type: dict
    required: true
  installed:
    description: The C(releases) that it tells.
    type: dict
    default: {}
  facts:
    description:
      - The variable in which the hosts of the play have what it tells. What runs on one of them
        is not resolved again.
    type: str
    default: ""
  build_on:
    description: Not on the controller, but on the host that the task is delegated to.
    type: str
    default: ""
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
  diff_mode:
    description: Nothing is changed in any mode.
    support: none
seealso:
  - module: tornado_drain.deploy.release
"""

EXAMPLES = r"""
- name: Ensure the release is resolved and built
  tornado_drain.deploy.artifact:
    packages: [./app, prometheus-client]
    platform: "{{ host.platform }}"
    installed: "{{ host.releases }}"
  register: artifact
"""

RETURN = r"""
id:
  description: The name of the release, the same on every host of the platform.
  type: str
  returned: success
  sample: 0f1e2d3c4b5a
lock:
  description: Every version and hash, a requirements file.
  type: str
  returned: success
wheels:
  description:
    - The hashes of the wheels, by their paths on the controller; none where the host has the
      release.
  type: dict
  returned: success
output:
  description: All that pip said.
  type: list
  elements: str
  returned: on failure
"""
