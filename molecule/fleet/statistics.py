"""Prints what HAProxy says of the servers behind it: {name: {field: value}}, as JSON."""

import csv
import json
import socket

SOCKET = "/run/haproxy/admin.sock"

with socket.socket(socket.AF_UNIX) as control:
    control.connect(SOCKET)
    control.sendall(b"show stat\n")
    lines = control.makefile().read().removeprefix("# ").split("\n")
print(json.dumps({row["svname"]: row for row in csv.DictReader(lines)}))
