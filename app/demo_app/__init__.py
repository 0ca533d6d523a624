"""The example application: what real ones do, and a live view of a roll."""
