#!/usr/bin/python
"""What ansible-doc says of the action `release`, which has its code in plugins/action."""

DOCUMENTATION = r"""
module: release
short_description: Install what was built once as a release on a host, offline
description:
  - Sends the wheels of an artifact to the host and installs them in a virtual environment of their
    own, where there is no whole one yet. The host asks no index. What an interrupted run has left
    is removed before.
  - Its action plugin runs on the controller. What is installed already is known from the facts of
    the host, and then nothing on the host is asked.
author: the tornado-drain authors (@tornado-drain)
version_added: 1.2.0
options:
  artifact:
    description: What M(tornado_drain.deploy.artifact) returned.
    type: dict
    required: true
  installed:
    description: The releases on the host, as M(tornado_drain.deploy.host_facts) tells.
    type: dict
    default: {}
  dest:
    description: The folder of all releases.
    type: str
  into:
    description: A virtual environment that is there, with pip, in place of a new release.
    type: str
  python:
    description: The Python that a release is made with.
    type: str
  pip:
    description: A Python on the host that has pip.
    type: str
    required: true
  pip_arguments:
    description:
      - As M(tornado_drain.deploy.artifact) has them. Here those count that are for installing, such
        as C(--no-compile).
    type: list
    elements: str
    default: []
  command:
    description:
      - How the app is started. Its first word must be a program that the packages install, or the
        absolute path of a program on the host.
    type: str
  program_found:
    description: Whether that word is the absolute path of a program on the host.
    type: bool
    default: false
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
- name: Ensure the release is built
  tornado_drain.deploy.artifact:
    packages: [./app, prometheus-client]
    platform: "{{ host.platform }}"
    installed: "{{ host.releases }}"
  register: artifact

- name: Ensure the release is installed
  tornado_drain.deploy.release:
    artifact: "{{ artifact }}"
    installed: "{{ host.releases }}"
    dest: /opt/shop/releases
    python: /usr/bin/python3
    pip: /opt/shop/tools/bin/python
    command: app --port={port}
    group: shop
"""

RETURN = r"""
id:
  description: The name of the release.
  type: str
  returned: success
  sample: 0f1e2d3c4b5a
"""
