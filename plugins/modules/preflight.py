#!/usr/bin/python
"""What ansible-doc says of the action `preflight`, which has its code in plugins/action."""

DOCUMENTATION = r"""
module: preflight
short_description: Looks at a host and refuses settings of the role tornado_app that can't be
version_added: 1.1.0
author: the tornado-drain authors (@tornado-drain)
description:
  - Asks a host once for all that the role needs to know of it, as
    M(tornado_drain.deploy.host_facts) does, and changes nothing.
  - Fails with a list of errors where the role's variables do not fit together or do not fit the
    host, each with what was given and what would be right.
  - It takes no options. It reads the variables of the role that it is a task of.
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
  diff_mode:
    description: Nothing is changed in any mode.
    support: none
seealso:
  - module: tornado_drain.deploy.host_facts
"""

EXAMPLES = r"""
- name: Ensure the settings fit together, and look at the host
  tornado_drain.deploy.preflight:
  register: __tornado_app_host
"""

RETURN = r"""
msg:
  description: The errors, such as C(tornado_app_max_wait) and what was given and expected.
  type: list
  elements: str
  returned: on failure
ansible_facts:
  description: Facts of the host that the role needs, where nobody had gathered them yet.
  type: dict
  returned: always
python:
  description: This and all other facts are those that M(tornado_drain.deploy.host_facts) returns.
  type: str
  returned: on success
"""
