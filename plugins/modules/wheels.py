"""Documentation of the action `wheels`, which runs on the controller."""

DOCUMENTATION = r"""
module: wheels
short_description: Build projects that are on the controller, and put their wheels on the host
description:
  - Asks pip on the controller for a wheel of each package that is there, and copies those that the
    host lacks.
  - A wheel is built again only where its sources, the commit they are of, or Python have changed.
    It is kept in C($XDG_CACHE_HOME/tornado_drain/wheels), by default below C(~/.cache).
  - In check mode it builds and predicts, and copies nothing.
author: the tornado-drain authors
options:
  packages:
    description:
      - What pip takes. One that begins with C(/), C(./) or C(../) is a project or wheel on the
        controller, relative to the playbook. Extras may follow, as in C(./app[metrics]).
    type: list
    elements: str
    required: true
  existing:
    description: The files that are below O(dest) already.
    type: list
    elements: str
    required: true
  dest:
    description: The folder of the wheels on the host. Each gets one in it, named by its hash.
    type: str
    required: true
  owner:
    description: Of what is made on the host, a name or number.
    type: str
  group:
    description: Of what is made on the host, a name or number.
    type: str
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Ensure the app is on the host
  tornado_drain.deploy.wheels:
    packages: ["./app[metrics]", prometheus-client]
    existing: []
    dest: /opt/shop/wheels
    owner: root
    group: shop
"""

RETURN = r"""
packages:
  description: What pip takes on the host, those of the controller as paths of their wheels.
  type: list
  elements: str
  returned: success
  sample:
    - /opt/shop/wheels/0f1e2d3c4b5a/app-1.0-py3-none-any.whl[metrics]
    - prometheus-client
paths:
  description: The wheels that were copied.
  type: list
  elements: str
  returned: success
"""
