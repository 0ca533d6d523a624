"""The conductor of one app's processes: `python -m conductor`, by its name `<app>-ctl`."""
