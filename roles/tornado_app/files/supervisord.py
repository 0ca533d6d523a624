"""supervisord, except that at its end programs of the same priority stop at once.

By itself it stops one after the other (supervisor 4.3.0, `ordered_stop_groups_phase_1`), so that N
processes may take N times stopwaitsecs: longer than a reboot or `docker stop` waits.
"""

from supervisor import supervisord


class Supervisor(supervisord.Supervisor):  # type: ignore[misc]
    """Stops all programs of the highest priority that are left, and then those of the next."""

    def ordered_stop_groups_phase_1(self) -> None:
        """Ask them to stop; called again and again until none is left."""
        for group in self.stop_groups:
            if group.config.priority == self.stop_groups[-1].config.priority:
                group.stop_all()


if __name__ == "__main__":
    supervisord.Supervisor = Supervisor
    supervisord.main()
