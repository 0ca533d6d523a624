"""Why a command ends before it is done."""


class Failed(Exception):
    """Something went wrong; the text is for the operator, `code` for the shell."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Interrupted(Exception):
    """The operator asked to stop between two processes."""


class NotReady(Exception):
    """Processes are not ready, or did not become it: why, by name."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name} {reason}" for name, reason in reasons.items()))
        self.reasons = reasons
