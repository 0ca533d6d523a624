#!/usr/bin/python
"""The module `host_facts`: all that the role needs to know of a host, in one round trip."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.host import host_facts

DOCUMENTATION = r"""
module: host_facts
short_description: Tells what the role tornado_app needs to know of a host
version_added: 1.1.0
author: the tornado-drain authors (@tornado-drain)
description:
  - Looks at everything that decides whether and how an app can be deployed on a host.
  - Changes nothing. What is not there is told as empty; that is never a failure.
  - The action plugin P(tornado_drain.deploy.preflight#module) calls it.
options:
  name:
    description: The name of the app.
    type: str
    required: true
  home:
    description: Where the app is kept.
    type: path
    required: true
  run:
    description: The folder of its sockets.
    type: path
    required: true
  python:
    description: The Python that releases are made with, a path or a program in the PATH.
    type: str
    default: python3
  program:
    description: What the app is started with, a path or a name.
    type: str
    default: ""
  user:
    description: Who the processes run as. Not looked for with O(rootless).
    type: str
    default: ""
  user_comment:
    description: What the password database says of a user that the role made.
    type: str
    default: ""
  rootless:
    description:
      - Whether the app is deployed without root. Then only its home is looked into, and what
        belongs to the system (user, units, the files of nginx) is told as empty.
    type: bool
    default: false
  certificate:
    description: The path of a certificate on the host.
    type: str
    default: ""
  certificate_content:
    description: A certificate that is not on the host, instead of O(certificate).
    type: str
  key:
    description: The path of its key on the host.
    type: str
    default: ""
  key_content:
    description: A key that is not on the host, instead of O(key).
    type: str
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
  diff_mode:
    description: Nothing is changed in any mode.
    support: none
"""

EXAMPLES = r"""
- name: Read what is on this host
  tornado_drain.deploy.host_facts:
    name: shop
    home: /opt/shop
    run: /run/shop
    user: shop
  register: host
"""

RETURN = r"""
python:
  description: The path of the interpreter, empty if there is none.
  type: str
  returned: always
platform:
  description:
    - Of that Python its C(path), C(implementation), C(version) (such as V(3.11)), C(machine) and
      C(libc); empty if there is none.
  type: dict
  returned: always
nginx:
  description: The version of nginx, such as V(1.22.1), empty if there is none.
  type: str
  returned: always
listening:
  description: Who listens, by TCP port; C(pid) (null where it can't be seen) and C(command).
  type: dict
  returned: always
endpoints:
  description: Where the deployed processes listen, such as V(127.0.0.1:9001).
  type: list
  elements: str
  returned: always
home:
  description: The names in the home, null if it is not there.
  type: list
  elements: str
  returned: always
ours:
  description: Whether the role has made that home.
  type: bool
  returned: always
user:
  description: The user's C(uid), C(gid), C(comment), C(shell) and C(home), null if there is none.
  type: dict
  returned: always
foreign_user:
  description: Whether that user was there before the role.
  type: bool
  returned: always
unit:
  description: The files of the unit C(<name>.service), as systemd has them, empty if there is none.
  type: str
  returned: always
namesakes:
  description: The paths outside of the home that go by the app's name.
  type: list
  elements: str
  returned: always
sites:
  description: The records that apps on this host have left for each other in the files of nginx.
  type: list
  elements: dict
  returned: always
locations:
  description: The paths of the apps' own files below C(/etc/nginx/tornado-app).
  type: list
  elements: str
  returned: always
nginx_includes:
  description: The paths of the files that nginx includes, but for the distribution's default site.
  type: list
  elements: str
  returned: always
worker_shutdown_timeout:
  description:
    - How long the workers of nginx may outlive a reload, seconds; 0 where the role has not said so.
  type: int
  returned: always
certificates:
  description:
    - Of the certificate and its key, whether it C(exists), openssl's exit C(status) (2 where
      there is no openssl), the C(public_key) and the SHA-256 C(checksum) of the content.
    - Empty where neither was asked for.
  type: list
  elements: dict
  returned: always
supervisord:
  description: Whether the app's supervisord takes connections.
  type: bool
  returned: always
tools:
  description: The version of supervisor in C(<home>/tools), empty if there is none.
  type: str
  returned: always
releases:
  description:
    - The releases that are installed, by id. Each has its C(lock), its C(programs) and whether it
      is the C(current) one.
  type: dict
  returned: always
program:
  description: Whether O(program) is the absolute path of one.
  type: bool
  returned: always
"""


def main() -> None:
    """Answer Ansible."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "run": {"type": "path", "required": True},
            "python": {"type": "str", "default": "python3"},
            "program": {"type": "str", "default": ""},
            "user": {"type": "str", "default": ""},
            "user_comment": {"type": "str", "default": ""},
            "rootless": {"type": "bool", "default": False},
            "certificate": {"type": "str", "default": ""},
            "certificate_content": {"type": "str"},
            "key": {"type": "str", "default": "", "no_log": False},
            "key_content": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **host_facts(module.params))


if __name__ == "__main__":
    main()
