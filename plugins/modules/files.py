"""The module `files`: files, folders, links and absent paths, in one task."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.plan import ANY, UNKNOWN, Change, Found, Plan

DOCUMENTATION = r"""
module: files
short_description: Make files, folders and links, and remove others, in one task
description:
  - Makes the directories, then the files, each in the order given, then removes what is to be
    absent. Nothing is changed where something else is in the way, a folder where a file should be
    for instance.
  - A file or link is replaced with one rename, and never has wider permissions than its final ones.
  - The umask does not matter.
author: the tornado-drain authors
options:
  directories:
    description: The paths of directories, made first.
    type: list
    elements: str
    default: []
  directory_mode:
    description: Of all directories that name none, octal in quotes.
    type: str
    default: "0750"
  absent:
    description: Paths that are removed last, with all that is in them.
    type: list
    elements: str
    default: []
  files:
    description: What there should be.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where, absolute.
        type: str
        required: true
      state:
        description:
          - What it is. A link to a directory counts as a directory; missing parents of a directory
            are made like it. What is absent is removed with all that is in it.
        choices: [file, directory, link, absent]
        default: file
        type: str
      content:
        description: Of a file, which must have one; it may be empty.
        type: raw
      source:
        description: The path, on the host, of a file that has the content, instead of it.
        type: str
      target:
        description: Of a link, which need not exist.
        type: str
      mode:
        description: Of a file or directory, octal in quotes, instead of the one for all.
        type: raw
      only:
        description: All that may be in a directory, names; whatever else is there is removed.
        type: list
        elements: str
      owner:
        description: A name or number, instead of the one for all.
        type: str
      group:
        description: A name or number, instead of the one for all.
        type: str
      secret:
        description: Whether its content is shown nowhere, in no diff either.
        type: bool
        default: false
  validate:
    description:
      - A command, its arguments, that is run before the first change. Where it fails nothing is
        changed. It is not run in check mode.
    type: list
    elements: str
  candidates:
    description: Files for the command, as O(files), that are written before it is run.
    type: list
    elements: dict
    default: []
  note:
    description:
      - The path of an empty file that is made before the first change. Who has acted on the changes
        removes it. While it is there this counts as changed, and O(validate) is run.
    type: str
  only_validate:
    description: Whether it ends there, with O(candidates) and O(validate), and changes nothing.
    type: bool
    default: false
  owner:
    description:
      - Of all that names none; without it they keep the one they have, or get who runs this.
    type: str
  group:
    description: As O(owner).
    type: str
  mode:
    description: Of all files that name none, octal in quotes.
    type: raw
    default: "0640"
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Ensure the configuration is there
  tornado_drain.deploy.files:
    owner: root
    group: shop
    directories: [/opt/shop]
    files:
      - {path: /opt/shop/environment, content: "A=b\n", mode: "0600", secret: true}
      - {path: /opt/shop/current, state: link, target: releases/1}
    absent: [/opt/shop/old]
"""

RETURN = r"""
paths:
  description: Those that were changed, and parents that were made, in order.
  type: list
  elements: str
  returned: always
needed:
  description: Whether there is something to change, also with O(only_validate).
  type: bool
  returned: always
"""

SUBOPTIONS: dict[str, Any] = {
    "path": {"required": True},
    "state": {"choices": ["file", "directory", "link", "absent"], "default": "file"},
    "content": {"type": "raw"},
    "source": {},
    "target": {},
    "mode": {"type": "raw"},
    "only": {"type": "list", "elements": "str"},
    "owner": {},
    "group": {},
    "secret": {"type": "bool", "default": False, "no_log": False},
}
# no_log: not for the host's syslog. What of it is returned is decided in main.
FILES: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": SUBOPTIONS,
    "no_log": True,
}
OPTIONS: dict[str, Any] = {
    "directories": {"type": "list", "elements": "str", "default": []},
    "directory_mode": {"default": "0750"},
    "absent": {"type": "list", "elements": "str", "default": []},
    "files": FILES,
    "candidates": FILES,
    "validate": {"type": "list", "elements": "str"},
    "note": {},
    "only_validate": {"type": "bool", "default": False},
    "owner": {},
    "group": {},
    "mode": {"type": "raw", "default": "0640"},
}


def set_attributes(module: AnsibleModule, path: Path, final: Path, after: Found) -> None:
    """Give what is at `path` the owner, group, mode and SELinux context it has at `final`."""
    attributes = {
        "path": str(path),
        "owner": None if after.owner == ANY else str(after.owner),
        "group": None if after.group == ANY else str(after.group),
        "mode": after.mode or None,
        "secontext": module.selinux_default_context(str(final)),
        "attributes": None,
    }
    module.set_fs_attributes_if_different(attributes, False, expand=False)


def make(module: AnsibleModule, change: Change) -> None:
    """Do what was planned for one path.

    Raises:
        OSError: it could not be done.
    """
    path, before, after, _ = change
    if after.kind == "absent":
        if before.kind == "directory":
            shutil.rmtree(path)
        else:
            path.unlink()
        return
    if after.kind == "directory":
        if before.kind == "absent":
            path.mkdir(0o700 & int(after.mode, 8))
        set_attributes(module, path.resolve(), path, after)
        return
    # Not atomic_move: it gives the new file for a moment the old one's mode, or the umask's.
    with tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent) as folder:
        new = Path(folder, "new")
        if after.kind == "link":
            new.symlink_to(after.target)
        else:
            new.touch(0o600)
            new.write_bytes(after.content)
        set_attributes(module, new, path, after)
        new.replace(path)


def differences(change: Change) -> list[dict[str, str]]:
    """What `--diff` shows of a change."""
    path, before, after, secret = change
    if secret:
        return []
    texts = ["", ""]
    for name in ("kind", "mode", "owner", "group", "target"):
        values = [getattr(before, name), getattr(after, name)]
        if values[0] != values[1]:
            for side, value in enumerate(values):
                texts[side] += f"{name}: {value}\n" if value not in ("", ANY, UNKNOWN) else ""
    pairs = [texts]
    if after.kind == "file":
        with contextlib.suppress(UnicodeDecodeError):
            pairs.append([before.content.decode(), after.content.decode()])
    headers = {"before_header": str(path), "after_header": str(path)}
    return [{**headers, "before": old, "after": new} for old, new in pairs if old != new]


def validate(module: AnsibleModule) -> None:
    """Run the command that must succeed."""
    command = module.params["validate"]
    code, output, errors = module.run_command(command)
    if code != 0:
        says = (errors or output).strip()
        module.fail_json(msg=f"files: {' '.join(command)} fails, it says: {says}", paths=[])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    module.no_log_values.clear()  # every path and mode is among them
    files, candidates = module.params.pop("files"), module.params.pop("candidates")
    defaults = {name: module.params[name] for name in ("owner", "group", "mode", "directory_mode")}
    directories = [{"path": path, "state": "directory"} for path in module.params["directories"]]
    absent = [{"path": path, "state": "absent"} for path in module.params["absent"]]
    # What is returned as invocation, by whatever fails.
    module.params["files"] = [{k: f[k] for k in f if k != "content"} for f in files]

    note, only_validate = module.params["note"], module.params["only_validate"]
    noted = note is not None and Path(note).exists()

    def planned(entries: list[dict[str, Any]]) -> list[Change]:
        plan = Plan(entries, defaults, module.check_mode)
        if plan.errors:
            module.fail_json(msg="\n".join(f"files: {error}" for error in plan.errors), paths=[])
        return plan.changes

    paths: list[str] = []

    def change(one: Change) -> None:
        try:
            make(module, one)
        except OSError as error:
            message = f"files: got {error.strerror!r} at {one.path}; expected to change it"
            module.fail_json(msg=message, changed=bool(paths), paths=paths)

    changes = planned([*directories, *files, *absent])
    if (changes or noted) and not module.check_mode:
        for candidate in planned(candidates):
            change(candidate)
        if module.params["validate"]:
            validate(module)
        if note and not noted and not only_validate:
            change(planned([{"path": note, "content": ""}])[0])
    for each in changes:
        if not module.check_mode and not only_validate:
            change(each)
        paths.append(str(each.path))
    diff = [entry for each in changes for entry in differences(each)]
    shown = {"diff": diff} if module._diff and not only_validate else {}
    needed = bool(paths) or noted
    module.exit_json(changed=needed and not only_validate, paths=paths, needed=needed, **shown)


if __name__ == "__main__":
    main()
