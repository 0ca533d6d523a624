"""A wave that follows a slider; the title says which process has the session."""

import os

import numpy as np
from bokeh.events import ClientReconnected
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, CustomJS, Slider
from bokeh.plotting import curdoc, figure

document = curdoc()
x = np.linspace(0, 10, 500)
source = ColumnDataSource({"x": x, "y": np.sin(x)})
plot = figure(title=f"process {os.environ.get('TORNADO_DRAIN_PORT', '')}", height=300)
plot.line("x", "y", source=source)
slider = Slider(title="frequency", value=1, start=0.1, end=5, step=0.1)


def redraw(name: str, old: float, new: float) -> None:
    """Draw the wave of the slider's frequency."""
    source.data = {"x": x, "y": np.sin(new * x)}


slider.on_change("value", redraw)
document.add_root(column(slider, plot))
# After a roll the session is a new one, in another process: show that.
document.js_on_event(ClientReconnected, CustomJS(code="window.location.reload()"))
